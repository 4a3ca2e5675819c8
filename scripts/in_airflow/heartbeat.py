"""Is the job of this container alive? `python heartbeat.py SchedulerJob|DagProcessorJob|TriggererJob`.

Docker asks every few seconds for as long as the stack runs, so this costs as little as it can: `airflow jobs check`
takes 3 s of CPU for the same answer. Hence no Airflow, no configparser, no urllib; libpq reads the address itself.
Both times are the database's, so clocks that differ do no harm.
"""

from __future__ import annotations

import os
import socket
import sys

JOBS = ("SchedulerJob", "DagProcessorJob", "TriggererJob")
OLDEST_HEARTBEAT = 30
CONNECT_TIMEOUT = 5
QUERY = """
    SELECT extract(epoch FROM now() - latest_heartbeat)::float8 FROM job
    WHERE job_type = %s AND hostname = %s AND state = 'running' ORDER BY latest_heartbeat DESC LIMIT 1
"""


def main(arguments: list[str]) -> int:
    """Return 0 if the job is alive, else 1 with one sentence."""
    if len(arguments) != 1 or arguments[0] not in JOBS:
        return refuse(f"name one of {', '.join(JOBS)}")
    try:
        age = heartbeat_age(arguments[0], database_address(os.environ["AIRFLOW_CONFIG"]))
    except Exception as error:
        return refuse(f"{arguments[0]}: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
    if age is None:
        return refuse(f"{arguments[0]}: none is running on {host_name()}")
    if age > OLDEST_HEARTBEAT:
        return refuse(f"{arguments[0]}: the last heartbeat is {age:.0f} s old")
    return 0


def refuse(sentence: str) -> int:
    """Print why the answer is no."""
    print(sentence)  # noqa: T201
    return 1


def database_address(config_file: str) -> str:
    """Return [database] sql_alchemy_conn from Airflow's configuration, as libpq wants it."""
    with open(config_file) as lines:
        section = ""
        for line in lines:
            if line.startswith("["):
                section = line.strip()
            elif section == "[database]" and line.startswith("sql_alchemy_conn"):
                # Airflow's file doubles percent signs; libpq does not know the driver behind the plus.
                scheme, _, rest = line.partition("=")[2].strip().replace("%%", "%").partition("://")
                return f"{scheme.partition('+')[0]}://{rest}"
    raise LookupError(f"{config_file} has no [database] sql_alchemy_conn")


def host_name() -> str:
    """Return this machine's name as Airflow writes it to its job table (airflow.utils.net.getfqdn)."""
    name = socket.gethostname()
    try:
        canonical = socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, 0, socket.AI_CANONNAME)[0][3]
    except OSError:
        return name
    return canonical or name


def heartbeat_age(job_type: str, address: str) -> float | None:
    """Ask the database for the age of the newest heartbeat."""
    import psycopg2

    connection = psycopg2.connect(address, connect_timeout=CONNECT_TIMEOUT, application_name="health check")
    try:
        with connection.cursor() as cursor:
            cursor.execute(QUERY, (job_type, host_name()))
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
