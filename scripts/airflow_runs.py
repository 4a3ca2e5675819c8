"""What the commands about runs ask Airflow: one DAG, its runs, their tasks, and what those have logged."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from scripts import airflow_api, runtime, settings
from scripts.airflow_session import NOT_FOUND, NOT_MAPPED, ApiError, ask, pages
from scripts.errors import KitError, UsageError

if TYPE_CHECKING:
    from airflow_client.client import (
        Configuration,
        DAGDetailsResponse,
        DAGRunResponse,
        TaskInstanceApi,
        TaskInstanceResponse,
    )

ENDED = ("success", "failed")


def connect() -> Configuration:
    """Log in to this clone's Airflow; say so where it does not run."""
    try:
        return airflow_api.airflow_setup_configuration(strict=True)
    except ApiError as error:
        if error.status == 0 and not runtime.choose(settings.load()).services():
            raise KitError("Airflow", "is not running", "run `make up`") from error
        raise


def named_dag(command: str) -> str:
    """Return what DAG= says, which a command cannot do without."""
    dag_id = settings.arguments()["DAG"]
    if not dag_id:
        raise UsageError("DAG", "is missing", f"run `make {command} DAG=...`; `make dags` lists them")
    return dag_id


def find_dag(configuration: Configuration, dag_id: str) -> DAGDetailsResponse:
    """Return a DAG, or tell which is meant."""
    from airflow_client.client import DAGApi

    try:
        found: DAGDetailsResponse = ask(configuration, DAGApi, lambda api: api.get_dag_details(dag_id), dag_id)
        return found
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        known = [known.dag_id for known in airflow_api.list_dags(configuration)]
        broken = count_import_errors(configuration)
        files = f" ({broken} of the files in dags/ cannot be read: `make status`)" if broken else ""
        fix = nearest(dag_id, known, "`make dags` lists them")
        raise UsageError("DAG", f"there is no {dag_id}{files}", fix) from error


def count_import_errors(configuration: Configuration) -> int:
    """Return how many files cannot be read."""
    from airflow_client.client import ImportErrorApi

    answer = ask(configuration, ImportErrorApi, lambda api: api.get_import_errors(limit=1), "import errors")
    return int(answer.total_entries)


def nearest(word: str, known: Sequence[str], otherwise: str) -> str:
    """Return the mend of a name that is not known."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


def get_run(configuration: Configuration, dag_id: str, run_id: str) -> DAGRunResponse:
    """Return a run."""
    from airflow_client.client import DagRunApi

    run: DAGRunResponse = ask(configuration, DagRunApi, lambda api: api.get_dag_run(dag_id, run_id), dag_id)
    return run


def list_tasks(configuration: Configuration, run: DAGRunResponse) -> list[TaskInstanceResponse]:
    """Return every task of a run, and of a mapped one every instance; in the order in which they were made."""
    from airflow_client.client import TaskInstanceApi

    def page(size: int, offset: int) -> tuple[list[TaskInstanceResponse], int | None]:
        def question(api: TaskInstanceApi) -> tuple[list[TaskInstanceResponse], int | None]:
            answer = api.get_task_instances(run.dag_id, run.dag_run_id, limit=size, offset=offset, order_by=["id"])
            return answer.task_instances, answer.total_entries

        return ask(configuration, TaskInstanceApi, question, run.dag_id)

    return pages(page, None)


def page_of(configuration: Configuration, dag_id: str, run_id: str = "", task_id: str = "") -> str:
    """Return the address of the web page that shows a DAG, a run or a task of it."""
    pieces = (("dags", dag_id), ("runs", run_id), ("tasks", task_id))
    path = "".join(f"/{kind}/{quote(name, safe='')}" for kind, name in pieces if name)
    return f"{configuration.host}{path}"


def name_of(task: TaskInstanceResponse) -> str:
    """Return a task as a person names it, an instance of a mapped one as `task[3]`."""
    return task.task_id if task.map_index == NOT_MAPPED else f"{task.task_id}[{task.map_index}]"


def state_of(task: TaskInstanceResponse) -> str:
    """Return the state of a task, '' where it has none yet."""
    return str(task.state.value) if task.state else ""


def took(seconds: float | None) -> str:
    """Return a duration for a person, '' where there is none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
