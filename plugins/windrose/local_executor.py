"""Airflow's LocalExecutor, which also knows a task that goes on before the process that deferred it has ended.

A deferred task gives its place away, and the process that ran it takes another moment to end. If its trigger fires in
that moment, Airflow 3.3 starts the task again at once. Only then its scheduler hears that a process of this task has
ended, takes that for the one that it has just started, and fails the task: "reported that the task instance finished
with state success, but the task instance's state attribute is queued". That befell 46 of 300 tasks with quick triggers
on a machine with two busy cores. So a task goes on once its process before was heard to end, as with Celery.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.executors import local_executor

LONGEST = 60.0  # seconds that a task waits for a process that may have been killed without a word


class LocalExecutor(local_executor.LocalExecutor):
    """Runs each task in a process of this machine, one process of a task after the other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's own
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.under_way: set[Any] = set()  # keys of tasks whose process was not heard to end
        self.held: dict[Any, float] = {}  # key of a task that has to go on -> since when it waits

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        """Send to the workers what can go; what has to wait stays in the queue and is offered again."""
        ready = [workload for workload in workload_list if not self.has_to_wait(workload.key)]
        for workload in ready:
            self.held.pop(workload.key, None)
            self.under_way.add(workload.key)
        if ready:
            super()._process_workloads(ready)  # type: ignore[no-untyped-call]

    def has_to_wait(self, key: Any) -> bool:  # noqa: ANN401 - of a task, a callback or a test of a connection
        """Say whether the process before may still be heard of."""
        if key not in self.under_way:
            return False
        return time.monotonic() - self.held.setdefault(key, time.monotonic()) < LONGEST

    def change_state(self, key: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's own
        """Note what a worker says: the process has ended."""
        self.under_way.discard(key)
        super().change_state(key, *args, **kwargs)
