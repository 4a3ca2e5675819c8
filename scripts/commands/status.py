"""Show each service, what is wrong and how to mend it."""

from __future__ import annotations

import re

from scripts import registration, runtime, settings
from scripts.console import say, table
from scripts.errors import ExitCode, KitError, Problems
from scripts.platforms import key_states
from scripts.runtime_interface import Runtime

BROKEN_DAGS = "SELECT filename, stacktrace FROM import_error ORDER BY filename"
IN_CONTAINER = "/opt/airflow/"


def run() -> int:
    """Print the table, then one line a problem."""
    stack = runtime.choose(settings.load())
    services = stack.services()
    if not services:
        say("nothing is running; `make up` starts everything")
        return ExitCode.NOTHING
    rows = [(s.name, s.health, s.since, s.memory, s.version) for s in services]
    table(("SERVICE", "HEALTH", "SINCE", "MEMORY", "VERSION"), rows)
    health = {service.name: service.health for service in services}
    problems = [unwell(stack, name, state) for name, state in health.items() if state != "healthy"]
    if stack.has_database():
        problems += broken_dags(stack.query(BROKEN_DAGS))
    told, warnings = platforms(stack)
    problems += told
    say()
    for warning in warnings:
        say(warning)
    for problem in problems:
        say(problem)
    if problems:
        return ExitCode.PROBLEM
    say("everything is healthy")
    return ExitCode.DONE


def platforms(stack: Runtime) -> tuple[list[str], list[str]]:
    """Return what is wrong with secrets.yaml and its keys, and what is merely unwise."""
    try:
        plan, trouble = registration.read_plan_if_there(stack, ask=False)
    except KitError as error:
        return [str(error)], []
    if trouble or plan is None:
        return [summary(trouble)] if trouble else [], []
    states = stack.key_states()
    notes = [*plan.warnings, *key_states.notes(plan, states), *registration.unchecked(plan)]
    return key_states.problems(plan, states), notes


def summary(trouble: KitError) -> str:
    """Return what is wrong with a file in a line: `make connections` tells all of it."""
    if not isinstance(trouble, Problems) or len(trouble.problems) < 3:
        return str(trouble)
    count = len(trouble.problems)
    return f"secrets.yaml: {count} entries are to be filled in or mended; see `make connections CHECK=yes`."


def unwell(stack: Runtime, name: str, state: str) -> str:
    """Say what a service that is not healthy said last, and what to do."""
    said = stack.why_unwell(name)
    reason = f" ({said.strip()[:200]})" if said else ""
    service = re.sub(r"-\d+$", "", name)
    mend = f"see `make logs SERVICE={service}`, then `make restart SERVICE={service}`"
    return f"{name}: is {state}{reason}; {'wait a moment' if state == 'starting' else mend}."


def shown_file(path: str) -> str:
    """Return a file of dags/ as a person in the clone writes it, wherever Airflow has seen it."""
    for folder in IN_CONTAINER, f"{settings.ROOT}/":
        path = path.removeprefix(folder)
    return path


def broken_dags(rows: list[list[str]]) -> list[str]:
    """Name file, line and reason of each DAG file that cannot be read."""
    problems = []
    for name, trace in rows:
        places = re.findall(r'File "([^"]*/dags/[^"]*)", line (\d+)', trace)
        place, line = places[-1] if places else (name, "")
        file = shown_file(place) if place.startswith("/") else f"dags/{place}"
        where = f"{file} line {line}" if line else file
        problems.append(f"{where}: {reason_of(trace)[:200]}; mend the file, it is read again within seconds.")
    return problems


def reason_of(trace: str) -> str:
    """Return the error itself as one line: what begins below the last place that a trace names."""
    below = re.split(r'^  File ".*\n', trace, flags=re.MULTILINE)[-1].splitlines()
    begin = next((number for number, line in enumerate(below) if line[:1].strip()), 0)
    return " ".join(" ".join(below[begin:]).split()) or "cannot be read"
