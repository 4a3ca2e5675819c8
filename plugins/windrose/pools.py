"""Which pool bounds a task's logins to its platform? The one that is named like the platform, where that is known.

Airflow calls `choose_pool` (its hook `task_instance_mutation_hook`) for each task instance that it makes, expands or
clears; a retry keeps what it has. That happens in the scheduler, in the middle of its transaction: nothing here may
raise, take long, or use the scheduler's own session.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Any

log = logging.getLogger(__name__)

DEFAULT_POOL = "default_pool"
OURS = "windrose."  # where the operators are that log in to their `platform`; the scheduler knows no class, only names
SECONDS = 20.0  # for so long the names of pools are remembered
# {{ params.platform }}, {{ params["platform"] }}, {{ dag_run.conf.get("platform", "hpc-demo") }} and their like.
TEMPLATE = re.compile(
    r"""\{\{\s*(?P<source>params|dag_run\.conf)
        (?:\.(?P<dotted>(?!get\b)\w+)
          |\[(?P<q1>["'])(?P<item>[^"']+)(?P=q1)\]
          |\.get\((?P<q2>["'])(?P<got>[^"']+)(?P=q2)(?:\s*,\s*(?P<q3>["'])(?P<default>[^"']*)(?P=q3))?\s*\))
        \s*\}\}""",
    re.VERBOSE,
)


class KnownPools:
    """The names of all pools, asked for now and then."""

    def __init__(self) -> None:
        """Begin without any."""
        self.names: frozenset[str] = frozenset()
        self.asked: float | None = None
        self.lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        """Say whether there is a pool of this name."""
        with self.lock:
            if self.asked is None or time.monotonic() - self.asked > SECONDS:
                # Noted before: where asking fails, a database in trouble is not asked again for every task.
                self.asked = time.monotonic()
                self.names = read_pool_names()
            return name in self.names


known_pools = KnownPools()


def read_pool_names() -> frozenset[str]:
    """Return the names of all pools, over a connection of its own: the caller's transaction is not ours to use."""
    from airflow import settings
    from airflow.models.pool import Pool
    from sqlalchemy import select

    with settings.get_engine().connect() as connection:  # type: ignore[no-untyped-call]
        return frozenset(connection.scalars(select(Pool.pool)))


def choose_pool(task_instance: Any, dag_run: Any) -> None:  # noqa: ANN401 - the scheduler's, and its CLI's stand-ins
    """Give a task the pool of its platform, unless it has one of its own; never raise."""
    try:
        task = task_instance.task
        # Without its task, the row comes from the database and has its pool already.
        if task is None or task.pool != DEFAULT_POOL or not task._task_module.startswith(OURS):
            return
        platform = platform_of(task, dag_run)
        if platform not in ("", DEFAULT_POOL) and platform in known_pools:
            task_instance.pool = platform
    except Exception as error:  # a scheduler must go on, whatever a DAG looks like
        log.warning("no pool was chosen for %s (%s); it takes the default one.", task_instance, type(error).__name__)


def platform_of(task: Any, dag_run: Any) -> str:  # noqa: ANN401 - as above
    """Return the platform of a task, '' where only its run will tell."""
    value = written_platform(task)
    found = TEMPLATE.fullmatch(value)
    if found is None:
        return "" if "{{" in value or "{%" in value else value
    if dag_run is None:
        return ""  # too early: Airflow asks again, with the run and its form
    name = found["dotted"] or found["item"] or found["got"]
    chosen = (dag_run.conf or {}).get(name)
    if chosen is None and found["source"] == "params":
        chosen = default_of(task, name)
    if chosen is None:
        chosen = found["default"]
    return chosen if isinstance(chosen, str) else ""


def written_platform(task: Any) -> str:  # noqa: ANN401 - as above
    """Return what the DAG file says of the platform, '' where there is nothing that holds for all of its instances."""
    if "platform" not in task.template_fields or (task.is_mapped and is_expanded_over_platforms(task)):
        return ""
    value = task.partial_kwargs.get("platform") if task.is_mapped else getattr(task, "platform", None)
    return value.strip() if isinstance(value, str) else ""


def is_expanded_over_platforms(task: Any) -> bool:  # noqa: ANN401 - as above
    """Say whether a mapped task's instances may differ in their platform; a list of mappings may hold any name."""
    if task._expand_input_attr != "expand_input":
        return False  # those of a decorated function are its own arguments
    value = task.expand_input.value
    return not isinstance(value, dict) or bool({"platform", "params"} & set(value))


def default_of(task: Any, name: str) -> object:  # noqa: ANN401 - as above
    """Return what a parameter is where nobody has filled in the form."""
    for holder in (task, task.dag):
        params = holder.params if holder is not None else {}
        if name in params:
            return params[name]
    return None
