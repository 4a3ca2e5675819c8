"""Airflow's REST API, for programs on the host: notebooks, services, scheduled callers (docs/api.md).

Each function logs what went wrong and returns an empty value; with `strict=True` it raises ApiError instead. At the top
this file imports the standard library only, so that a program pays for the client when it first asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scripts.airflow_session import LOG, ApiError, ask, configure, log_events, log_in, pages, renew

if TYPE_CHECKING:
    from airflow_client.client import Configuration, DAGResponse, DAGRunResponse, TaskResponse

__all__ = [
    "ApiError",
    "airflow_dag_logs",
    "airflow_get_dags",
    "airflow_get_runs",
    "airflow_get_tasks",
    "airflow_get_token",
    "airflow_setup_configuration",
    "airflow_trigger_dag",
]

TIME_FORMAT = "%f-%S-%M-%H-%d-%m-%Y"
Row = dict[str, Any]


def airflow_get_token(host: str, username: str, password: str, *, strict: bool = False) -> str | None:
    """Return a token for the API, or None where user and password are not accepted or nothing answers."""
    try:
        return log_in(host, username, password)
    except ApiError as error:
        failed(error, strict=strict)
        return None


def airflow_setup_configuration(
    airflow_host: str | None = None,
    airflow_username: str | None = None,
    airflow_password: str | None = None,
    *,
    strict: bool = False,
) -> Configuration:
    """Return the configuration that all other functions take; what is not given is that of this clone's Airflow.

    It logs in again by itself when its token has expired, and when Airflow was down before.
    """
    given = (airflow_host, airflow_username, airflow_password)
    own = own_login() if None in given else ("", "", "")
    host, username, password = (mine if value is None else value for value, mine in zip(given, own, strict=True))
    configuration = configure(host, username, password)
    try:
        renew(configuration)
    except ApiError as error:
        failed(error, strict=strict)
    return configuration


def airflow_get_dags(
    airflow_configuration: Configuration,
    limit: int | None = None,
    tags: Sequence[str] | None = None,
    order_by: str | Sequence[str] = "dag_id",
    *,
    strict: bool = False,
) -> dict[str, Row]:
    """Return DAG id -> its tags, of DAGs that have any of `tags`; at most `limit`, with None all of them."""
    try:
        dags = list_dags(airflow_configuration, limit, order_by=listed(order_by), tags=listed(tags))
        return {dag.dag_id: {"tags": sorted(tag.name for tag in dag.tags)} for dag in dags}
    except ApiError as error:
        return failed(error, strict=strict)


def airflow_get_runs(
    airflow_configuration: Configuration,
    dag_id: str,
    limit: int | None = None,
    order_by: str | Sequence[str] = "id",
    *,
    strict: bool = False,
) -> list[Row] | Row:
    """Return the runs of a DAG; one that has not ended (or begun) has None for `end` and `time` (and `start`)."""
    try:
        return [run_row(run) for run in list_runs(airflow_configuration, dag_id, limit, order_by=listed(order_by))]
    except ApiError as error:
        return failed(error, strict=strict)


def airflow_get_tasks(
    airflow_configuration: Configuration, dag_id: str, order_by: str = "task_id", *, strict: bool = False
) -> list[Row] | Row:
    """Return the tasks of a DAG with their parameters as plain values, and what follows on each."""
    from airflow_client.client import TaskApi

    try:
        answer = ask(airflow_configuration, TaskApi, lambda api: api.get_tasks(dag_id, order_by=order_by), dag_id)
        return [task_row(task) for task in answer.tasks]
    except ApiError as error:
        return failed(error, strict=strict)


def airflow_dag_logs(  # noqa: PLR0917 - in this order since the first program that calls it
    airflow_configuration: Configuration,
    dag_id: str,
    dag_run_id: str,
    task_id: str,
    try_number: int = 1,
    filtered_words: Iterable[str] | None = None,
    *,
    map_index: int = -1,
    strict: bool = False,
) -> list[str] | Row:
    """Return what one try of a task has logged, a string a line; lines with any of `filtered_words` are left out."""
    words = listed(filtered_words) or []
    try:
        events = log_events(airflow_configuration, (dag_id, dag_run_id, task_id), try_number, map_index)
        texts = [str(event.get("event", "")) for event in events]
    except ApiError as error:
        return failed(error, strict=strict)
    return [text for text in texts if not any(word in text for word in words)]


def airflow_trigger_dag(
    airflow_configuration: Configuration,
    dag_id: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    strict: bool = False,
) -> Row:
    """Start a run with these parameters; return what it is called, and when it was queued."""
    from airflow_client.client import DagRunApi, TriggerDAGRunPostBody

    def start(api: DagRunApi) -> DAGRunResponse:
        # The server wants the field, and makes the date itself where it is null.
        return api.trigger_dag_run(dag_id, TriggerDAGRunPostBody(logical_date=None, conf=dict(parameters or {})))

    try:
        run = ask(airflow_configuration, DagRunApi, start, dag_id)
    except ApiError as error:
        return failed(error, strict=strict)
    return {
        "id": run.dag_run_id,
        "parameters": run.conf or {},
        "state": run.state.value,
        "queue": formatted(run.queued_at),
        "after": formatted(run.run_after),
    }


def list_dags(configuration: Configuration, limit: int | None = None, **filters: Any) -> list[DAGResponse]:  # noqa: ANN401
    """Return the DAGs that the filters of the client leave over."""
    from airflow_client.client import DAGApi

    def page(size: int, offset: int) -> tuple[list[DAGResponse], int | None]:
        answer = ask(configuration, DAGApi, lambda api: api.get_dags(limit=size, offset=offset, **filters), "DAGs")
        return answer.dags, answer.total_entries

    return pages(page, limit)


def list_runs(
    configuration: Configuration,
    dag_id: str,
    limit: int | None = None,
    **filters: Any,  # noqa: ANN401
) -> list[DAGRunResponse]:
    """Return the runs of a DAG, or with `~` of all, that the filters of the client leave over."""
    from airflow_client.client import DagRunApi

    def page(size: int, offset: int) -> tuple[list[DAGRunResponse], int | None]:
        answer = ask(
            configuration,
            DagRunApi,
            lambda api: api.get_dag_runs(dag_id, limit=size, offset=offset, **filters),
            dag_id,
        )
        return answer.dag_runs, answer.total_entries

    return pages(page, limit)


def run_row(run: DAGRunResponse) -> Row:
    """Return a run as `airflow_get_runs` shows it."""
    took = (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None
    return {
        "id": run.dag_run_id,
        "type": run.run_type.value,
        "state": run.state.value,
        "start": formatted(run.start_date),
        "end": formatted(run.end_date),
        "time": took,
        "trigger": run.triggered_by.value if run.triggered_by else None,
    }


def task_row(task: TaskResponse) -> Row:
    """Return a task as `airflow_get_tasks` shows it."""
    return {
        "id": task.task_id,
        "name": task.task_display_name,
        "parameters": {name: plain(value) for name, value in (task.params or {}).items()},
        "downstream": sorted(task.downstream_task_ids or []),
    }


def plain(parameter: Any) -> Any:  # noqa: ANN401
    """Return the value of a parameter, which the server wraps with its schema and its description."""
    is_wrapped = isinstance(parameter, dict) and {"value", "schema"} <= parameter.keys()
    return parameter["value"] if is_wrapped else parameter


def formatted(moment: datetime | None) -> str | None:
    """Return a time in UTC as these functions show it, microseconds first."""
    return moment.astimezone(UTC).strftime(TIME_FORMAT) if moment else None


def listed(words: str | Iterable[str] | None) -> list[str] | None:
    """Return words as a list, also where there is one only."""
    return [words] if isinstance(words, str) else None if words is None else list(words)


def own_login() -> tuple[str, str, str]:
    """Return address, user and password of the Airflow that runs from this clone."""
    from scripts import generated_secrets, runtime, settings

    chosen = settings.load()
    return runtime.choose(chosen).address(), chosen["ADMIN_USER"], generated_secrets.read("admin_password")


def failed(error: ApiError, *, strict: bool) -> Row:
    """Raise the error, or log it and return the empty value."""
    if strict:
        raise error
    LOG.error("%s", error)
    return {}
