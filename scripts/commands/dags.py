"""List the DAGs: paused or not, when they run, how the last run went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.airflow_api import list_dags
from scripts.airflow_runs import connect, count_import_errors
from scripts.console import say, table
from scripts.errors import ExitCode

if TYPE_CHECKING:
    from airflow_client.client import Configuration, DAGResponse

BY_HAND = "by hand"


def run() -> int:
    """Print the table, and how many files hold DAGs that cannot be read."""
    configuration = connect()
    dags = list_dags(configuration, order_by=["dag_id"])
    last = last_states(configuration) if dags else {}
    if dags:
        table(("DAG", "PAUSED", "SCHEDULE", "LAST RUN", "TAGS"), [row(dag, last.get(dag.dag_id, "")) for dag in dags])
    else:
        say("there is no DAG; save one in a folder of your own below dags/, or see LIBRARY in .env.example")
    broken = count_import_errors(configuration)
    if broken:
        say(f"\n{broken} {'file' if broken == 1 else 'files'} cannot be read; `make status` says which and why")
    return ExitCode.DONE


def last_states(configuration: Configuration) -> dict[str, str]:
    """Return DAG id -> state of its last run: four questions, however many DAGs there are."""
    from airflow_client.client import DagRunState

    return {
        dag.dag_id: state.value for state in DagRunState for dag in list_dags(configuration, last_dag_run_state=state)
    }


def row(dag: DAGResponse, last: str) -> tuple[str, ...]:
    """Return the cells of a DAG."""
    tags = ", ".join(sorted(tag.name for tag in dag.tags))
    return dag.dag_id, "paused" if dag.is_paused else "", dag.timetable_summary or BY_HAND, last, tags
