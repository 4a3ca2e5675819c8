"""List the runs of a DAG, newest first; without one, those of all DAGs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scripts import settings
from scripts.airflow_api import list_runs
from scripts.airflow_runs import ENDED, connect, find_dag, took
from scripts.console import say, table
from scripts.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from airflow_client.client import DAGRunResponse

ALL_DAGS = "~"
SHOWN = 20


def run() -> int:
    """Print the table."""
    given = settings.arguments()
    most = read_count(given["LINES"], SHOWN)
    configuration = connect()
    dag_id = find_dag(configuration, given["DAG"]).dag_id if given["DAG"] else ALL_DAGS
    found = list_runs(configuration, dag_id, most, order_by=["-id"])
    if not found:
        say(f"no run yet; `make trigger DAG={given['DAG'] or '...'}` starts one")
        return ExitCode.DONE
    header: tuple[str, ...] = ("RUN", "STATE", "STARTED", "TOOK", "TRIGGERED")
    rows = [row(one, datetime.now(UTC)) for one in found]
    if dag_id == ALL_DAGS:
        header, rows = ("DAG", *header), [(one.dag_id, *cells) for one, cells in zip(found, rows, strict=True)]
    table(header, rows)
    if len(found) == most:
        say(f"the newest {most}; LINES={most * 5} shows more")
    return ExitCode.DONE


def read_count(given: str, usual: int) -> int:
    """Return how many lines are wanted."""
    if given and (not given.isdecimal() or int(given) < 1):
        raise UsageError("LINES", f"is {given!r}", "write a whole number from 1, for example LINES=50")
    return int(given or usual)


def row(one: DAGRunResponse, now: datetime) -> tuple[str, ...]:
    """Return the cells of a run: when it began, how long it took or takes so far, and who began it."""
    has_ended = one.state.value in ENDED
    end = one.end_date if has_ended else now
    length = took((end - one.start_date).total_seconds()) if one.start_date and end else ""
    began = f"{one.start_date.astimezone():%Y-%m-%d %H:%M:%S}" if one.start_date else ""
    how = one.triggered_by.value if one.triggered_by else one.run_type.value
    by = f"{how} by {one.triggering_user_name}" if one.triggering_user_name else how
    return one.dag_run_id, one.state.value, began, length if has_ended or not length else f"{length} so far", by
