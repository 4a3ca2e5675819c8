"""Waiting for the end of a run: each change of a task is a line; the instances of a mapped one are summed up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from scripts.airflow_runs import ENDED, get_run, list_tasks, page_of, state_of, took
from scripts.airflow_session import NOT_MAPPED, ApiError
from scripts.console import progress, say

if TYPE_CHECKING:
    from airflow_client.client import Configuration, DAGRunResponse, TaskInstanceResponse

PAUSE, LONGEST_PAUSE = 1.0, 10.0  # seconds between two looks: as long as the look itself took, within these
PATIENCE = 180  # seconds without an answer, as while the server restarts
LONG_IN_QUEUE = 30
# In the order of a task's life, for sums.
STATES = (
    *("scheduled", "queued", "restarting", "running", "deferred", "awaiting_input", "up_for_reschedule"),
    *("up_for_retry", "success", "skipped", "upstream_failed", "failed", "removed"),
)


@dataclass(slots=True)
class Watch:
    """One run that is waited for, and what was told of it so far."""

    configuration: Configuration
    dag_id: str
    run_id: str
    told: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    silent_since: float = 0.0
    told_queue: bool = False

    def until_ended(self) -> tuple[DAGRunResponse, list[TaskInstanceResponse]]:
        """Tell every change until the run has ended; return it and its tasks."""
        while True:
            start = time.monotonic()
            try:
                run = get_run(self.configuration, self.dag_id, self.run_id)
                tasks = list_tasks(self.configuration, run)
                self.silent_since = 0.0
            except ApiError as error:
                self.bear(error)
            else:
                self.tell(run, tasks)
                if run.state.value in ENDED:
                    return run, tasks
            time.sleep(min(max(PAUSE, time.monotonic() - start), LONGEST_PAUSE))

    def bear(self, error: ApiError) -> None:
        """Put up with a server that is down for a while: the run goes on without it."""
        if 0 < error.status < 500:
            raise error
        if not self.silent_since:
            self.silent_since = time.monotonic()
            progress("Airflow gives no answer; waiting for it, the run goes on by itself")
        elif time.monotonic() - self.silent_since > PATIENCE:
            raise error

    def tell(self, run: DAGRunResponse, tasks: Sequence[TaskInstanceResponse]) -> None:
        """Print a line for each task that is in another state than before."""
        width = max((len(task.task_id) for task in tasks), default=0)
        for task_id, text in states(tasks).items():
            if text and self.told.get(task_id) != text:
                self.told[task_id] = text
                where = f"  {page_of(self.configuration, self.dag_id, self.run_id)}" if needs_answer(text) else ""
                say(f"{datetime.now().astimezone():%H:%M:%S}  {task_id:<{width}}  {text}{where}")
        if run.state.value == "queued" and not self.told_queue and time.monotonic() - self.begun > LONG_IN_QUEUE:
            self.told_queue = True
            progress(f"still queued: other runs go first (`make runs DAG={self.dag_id}`), or see `make status`")


def states(tasks: Sequence[TaskInstanceResponse]) -> dict[str, str]:
    """Return for each task what to say of it, '' where nothing has happened yet."""
    instances: dict[str, list[TaskInstanceResponse]] = {}
    for task in tasks:
        instances.setdefault(task.task_id, []).append(task)
    return {
        task_id: one_state(found[0]) if found[0].map_index == NOT_MAPPED else summed_up(found)
        for task_id, found in instances.items()
    }


def one_state(task: TaskInstanceResponse) -> str:
    """Return the state of a task with what belongs to it."""
    state = state_of(task)
    if state in ENDED and task.duration is not None:
        return f"{state} after {took(task.duration)}"
    if task.max_tries and state in ("running", "up_for_retry"):
        return f"{state}, try {task.try_number} of {task.max_tries + 1}"
    return f"{state}, answer it in the page" if state == "awaiting_input" else state


def summed_up(instances: Sequence[TaskInstanceResponse]) -> str:
    """Return how many instances of a mapped task are in which state."""
    counts = Counter(state_of(task) for task in instances)
    told = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    return f"{len(instances)} instances: {', '.join(told)}" if told else ""


def needs_answer(text: str) -> bool:
    """Say whether a task waits for a person."""
    return "awaiting_input" in text
