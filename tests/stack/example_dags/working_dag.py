"""Tasks that take time, take memory, or tell where they run; the run's conf says how much."""

import os
import socket
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, get_current_context, task


def conf(name: str) -> float:
    """Return a number of the run's conf."""
    return float(get_current_context()["dag_run"].conf[name])


with DAG(dag_id="own-sleeping", schedule=None, is_paused_upon_creation=False):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def sleep() -> None:
        """Sleep at the first try only."""
        print("sleeping")
        if get_current_context()["ti"].try_number == 1:
            time.sleep(conf("seconds"))

    sleep()

with DAG(dag_id="own-eating", schedule=None, is_paused_upon_creation=False):

    @task
    def eat() -> None:
        """Take so many megabytes."""
        taken = [b"x" * 1024 * 1024 for _ in range(int(conf("megabytes")))]
        print(f"took {len(taken)} MB")

    eat()

with DAG(dag_id="own-looking", schedule=None, is_paused_upon_creation=False):

    @task
    def look() -> dict[str, object]:
        """Tell what is within reach."""
        try:
            socket.create_connection(("postgres", 5432), timeout=3).close()
            database = "open"
        except OSError as error:
            database = type(error).__name__
        secrets = sorted(path.name for path in Path("/run/windrose").iterdir())
        return {"host": socket.gethostname(), "database": database, "secrets": secrets, "uid": os.getuid()}

    look()

with DAG(dag_id="own-asking", schedule=None, is_paused_upon_creation=False):

    @task
    def ask() -> int:
        """Return the status that an address of the conf answers with."""
        try:
            return int(urllib.request.urlopen(get_current_context()["dag_run"].conf["address"], timeout=20).status)
        except urllib.error.HTTPError as error:
            return error.code

    ask()
