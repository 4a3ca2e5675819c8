"""Start a run of a DAG; wait for its end and show why it failed."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts import airflow_api, settings
from scripts.airflow_runs import connect, find_dag, named_dag, page_of, state_of, took
from scripts.airflow_session import ApiError, ask
from scripts.airflow_task_log import failed_first, show_log
from scripts.airflow_watch import Watch
from scripts.console import progress, say
from scripts.errors import ExitCode, KitError, UsageError

if TYPE_CHECKING:
    from airflow_client.client import Configuration, DAGDetailsResponse, DAGRunResponse, TaskInstanceResponse

INTERRUPTED = 130
LOG_LINES, LOGS = 30, 5  # how much of how many failed tasks is shown in the end
REASON_SECONDS = 10  # how long the logs may take to say why
REFUSED = (400, 422)
EXAMPLE = """write an object in single quotes, such as CONF='{"message": "hello"}'"""


def run() -> int:
    """Check what was given, start the run, and wait where that is asked."""
    given = settings.arguments()
    is_waited_for, unpauses = is_yes("WAIT", given["WAIT"]), is_yes("UNPAUSE", given["UNPAUSE"])
    wanted = named_dag("trigger")
    parameters = read_parameters(given["CONF"])
    configuration = connect()
    dag = find_dag(configuration, wanted)
    if dag.is_paused:
        unpause(configuration, dag.dag_id, unpauses)
    tell_unknown(parameters, dag)
    run_id = start(configuration, dag, parameters)
    try:
        say(f"{dag.dag_id}  {run_id}")
        say(page_of(configuration, dag.dag_id, run_id))
        if not is_waited_for:
            say(f"next: `make runs DAG={dag.dag_id}` shows how it goes, `make dag-logs DAG={dag.dag_id}` its log")
            return ExitCode.DONE
        return report(configuration, *Watch(configuration, dag.dag_id, run_id).until_ended())
    except KeyboardInterrupt:
        progress(f"\nstopped waiting; the run goes on: `make dag-logs DAG={dag.dag_id} RUN={run_id}`")
        return INTERRUPTED


def is_yes(name: str, value: str) -> bool:
    """Read a switch."""
    if value not in ("", "0", "no", "1", "yes"):
        raise UsageError(name, f"is {value!r}", f"write {name}=1, or leave it out")
    return value in ("1", "yes")


def read_parameters(given: str) -> dict[str, Any]:
    """Return the parameters of CONF: JSON itself, `@file`, or `-` for standard input."""
    where, text = "CONF", given
    if given == "-":
        where, text = "CONF on standard input", sys.stdin.read()
    elif given.startswith("@"):
        where, text = f"CONF in {given[1:]}", read_file(given[1:])
    if not given.strip():
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        raise UsageError(where, problem, EXAMPLE) from error
    if not isinstance(found, dict):
        raise UsageError(where, f"is JSON, but no object: {text.strip()[:40]}", EXAMPLE)
    return found


def read_file(name: str) -> str:
    """Return the text of a file."""
    try:
        return Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError("CONF", f"{name or '@'} cannot be read ({reason})", "write CONF=@ and a JSON file") from error


def unpause(configuration: Configuration, dag_id: str, is_wanted: bool) -> None:
    """Let the DAG run again where that is wanted: its schedule begins with it, so it is never done unasked."""
    from airflow_client.client import DAGApi, DAGPatchBody

    if not is_wanted:
        fix = f"switch it on at {page_of(configuration, dag_id)}, or add UNPAUSE=yes; its schedule begins then, too"
        raise KitError("DAG", f"{dag_id} is paused, so a run would only wait", fix)
    body = DAGPatchBody(is_paused=False)
    ask(configuration, DAGApi, lambda api: api.patch_dag(dag_id, body, update_mask=["is_paused"]), dag_id)
    say(f"{dag_id} was paused and is no longer")


def tell_unknown(parameters: Mapping[str, Any], dag: DAGDetailsResponse) -> None:
    """Tell of parameters that the DAG does not declare: Airflow takes them silently, and a typing error with them."""
    declared = list(dag.params or {})
    for name in [name for name in parameters if declared and name not in declared]:
        near = difflib.get_close_matches(name, declared, n=1, cutoff=0.6)
        progress(f"CONF: {name} is no parameter of {dag.dag_id}" + (f"; did you mean {near[0]}?" if near else "."))


def start(configuration: Configuration, dag: DAGDetailsResponse, parameters: Mapping[str, Any]) -> str:
    """Start a run and return its name; what the DAG's own schema refuses is told with its parameters."""
    try:
        return str(airflow_api.airflow_trigger_dag(configuration, dag.dag_id, parameters, strict=True)["id"])
    except ApiError as error:
        if error.status not in REFUSED:
            raise
        known = ", ".join(dag.params or {})
        fix = f"its parameters are {known}" if known else "see `make status`"
        raise KitError(dag.dag_id, f"Airflow refuses the run: {error.problem}", fix) from error


def report(configuration: Configuration, run: DAGRunResponse, tasks: Sequence[TaskInstanceResponse]) -> int:
    """Say how the run has ended, with the last lines of what failed; return the exit code."""
    until = time.monotonic() + REASON_SECONDS
    failed = failed_first([task for task in tasks if state_of(task) == "failed"])
    for task in failed[:LOGS] if run.state.value == "failed" else []:
        show_log(configuration, task, LOG_LINES, until=until)
    length = (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None
    say(f"{run.state.value} after {took(length) or '0 s'}")
    if run.state.value == "success":
        return ExitCode.DONE
    whole = f"`make dag-logs DAG={run.dag_id} RUN={run.dag_run_id}`"
    if failed:
        say(f"{len(failed)} {'task' if len(failed) == 1 else 'tasks'} failed; {whole} shows the whole log")
    else:
        say(f"no task failed: the run took too long or was set to failed by hand; {whole} shows what was logged")
    return ExitCode.PROBLEM
