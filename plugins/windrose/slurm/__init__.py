"""Slurm, without Airflow: what is submitted, asked, understood and copied, over SSH or FirecREST."""
