"""What a team computes on: secrets.yaml, from its text to what Airflow, the keys service and ssh are told."""
