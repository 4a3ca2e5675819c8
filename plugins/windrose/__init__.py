"""What Windrose adds to Airflow: operators, hooks, triggers, and the guards around a running stack."""
