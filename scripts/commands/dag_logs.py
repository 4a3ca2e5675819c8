"""Show what the tasks of a run have logged, failed ones first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scripts import settings
from scripts.airflow_api import list_runs
from scripts.airflow_runs import (
    connect,
    find_dag,
    get_run,
    list_tasks,
    named_dag,
    nearest,
    page_of,
    state_of,
)
from scripts.airflow_session import NOT_FOUND, NOT_MAPPED, ApiError
from scripts.airflow_task_log import failed_first, show_log
from scripts.commands.runs import read_count
from scripts.console import say
from scripts.errors import ExitCode, KitError, UsageError

if TYPE_CHECKING:
    from airflow_client.client import Configuration, DAGRunResponse, TaskInstanceResponse

LINES = 200  # of each task
INSTANCES = 3  # of a mapped task, beside the failed ones


def run() -> int:
    """Print the logs of one task, or of all that have begun."""
    given = settings.arguments()
    most = read_count(given["LINES"], LINES)
    wanted = named_dag("dag-logs")
    configuration = connect()
    dag = find_dag(configuration, wanted)
    chosen = choose_run(configuration, dag.dag_id, given["RUN"])
    tasks = failed_first(choose_tasks(list_tasks(configuration, chosen), given["TASK"]))
    say(f"{chosen.dag_id}  {chosen.dag_run_id}  {chosen.state.value}")
    say(page_of(configuration, chosen.dag_id, chosen.dag_run_id))
    shown, left_out = (tasks, {}) if given["TASK"] else without_crowd(tasks)
    for task in shown:
        show_log(configuration, task, most)
    for task_id, count in left_out.items():
        say(f"\n{count} more instances of {task_id} have not failed; TASK={task_id} shows them, too")
    return ExitCode.DONE


def choose_run(configuration: Configuration, dag_id: str, run_id: str) -> DAGRunResponse:
    """Return the run of that name, or the newest."""
    if not run_id:
        newest = list_runs(configuration, dag_id, 1, order_by=["-id"])
        if not newest:
            raise KitError("DAG", f"{dag_id} has no run yet", f"`make trigger DAG={dag_id}` starts one")
        return newest[0]
    try:
        return get_run(configuration, dag_id, run_id)
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        known = [one.dag_run_id for one in list_runs(configuration, dag_id, 100, order_by=["-id"])]
        fix = nearest(run_id, known, f"`make runs DAG={dag_id}` lists them")
        raise UsageError("RUN", f"{dag_id} has no run {run_id}", fix) from error


def choose_tasks(tasks: Sequence[TaskInstanceResponse], word: str) -> Sequence[TaskInstanceResponse]:
    """Return the tasks that TASK names: `name`, or `name[3]` for one instance of a mapped task; all without it."""
    if not word:
        return tasks
    named = re.fullmatch(r"(?P<name>.+)\[(?P<index>\d+)\]", word)
    name, index = (named["name"], int(named["index"])) if named else (word, None)
    found = [task for task in tasks if task.task_id == name and index in (None, task.map_index)]
    if not found:
        known = sorted({task.task_id for task in tasks})
        fix = nearest(name, known, f"take one of {', '.join(known)[:150]}" if known else "wait until it has begun")
        raise UsageError("TASK", f"the run has no task {word}", fix)
    return found


def without_crowd(
    tasks: Sequence[TaskInstanceResponse],
) -> tuple[list[TaskInstanceResponse], dict[str, int]]:
    """Return the tasks to show where none is named, and how many instances of which mapped task are left out."""
    shown: list[TaskInstanceResponse] = []
    counts: dict[str, int] = {}
    left_out: dict[str, int] = {}
    for task in tasks:
        if task.map_index == NOT_MAPPED or state_of(task) == "failed" or counts.get(task.task_id, 0) < INSTANCES:
            shown.append(task)
            counts[task.task_id] = counts.get(task.task_id, 0) + (state_of(task) != "failed")
        else:
            left_out[task.task_id] = left_out.get(task.task_id, 0) + 1
    return shown, left_out
