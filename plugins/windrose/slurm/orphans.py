"""Which jobs of ours stand in a cluster's queue although no task waits for them any more?

A task that ends cancels its job. Where nobody could do so (the triggerer was down, the cluster did not answer), the job
would go on for nobody. It is known by its token: a job's task is what its origin says, and the token that this task has
now stands in its XCom `slurm_job`, which is written before a job is submitted.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from windrose.slurm.model import Cluster, ClusterError, Queued

INSTALLATION = "windrose_installation"  # the variable whose word every job of this installation carries
XCOM = "slurm_job"
AT_A_TIME = 40  # runs in one question: their ids stand in an address, which must not get too long
SECOND_LOOK = 60.0  # seconds later at most: a task may end, or a job leave the queue, between two questions
ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
# Of jobs that are on their way out by themselves.
LEAVING = frozenset(
    "COMPLETING COMPLETED CANCELLED FAILED TIMEOUT OUT_OF_MEMORY NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE REVOKED".split()
)


@dataclass(frozen=True, slots=True)
class Task:
    """The task instance that a job was submitted for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        """Return it as a person finds it."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index}, run {self.run_id}"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job without a task that waits for it."""

    job: Queued
    task: Task
    why: str


class Tasks(Protocol):
    """What Airflow says of tasks; airflow.sdk's RuntimeTaskInstance does."""

    def get_task_states(self, dag_id: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        """Return run -> task -> state; of a mapped task, task_<index> -> state."""

    def xcom_pull(self, task_ids: str, dag_id: str, key: str, *, map_indexes: int, run_id: str) -> Any:  # noqa: ANN401
        """Return an XCom of any task, None where there is none."""


def find(jobs: Iterable[Queued], installation: str, tasks: Tasks, *, youngest: float) -> list[Orphan]:
    """Return the jobs of this installation for which no task waits; those of less than `youngest` seconds are none."""
    own = {
        job.token: (job, task)
        for job in jobs
        if (task := task_of(job, installation)) and job.state.upper() not in LEAVING and not 0 <= job.seconds < youngest
    }
    states = dict(ask_states({task for _, task in own.values()}, tasks))
    found = []
    for job, task in own.values():
        why = reason(job, task, states, tasks)
        if why:
            found.append(Orphan(job, task, why))
    return found


def task_of(job: Queued, installation: str) -> Task | None:
    """Return the task of a job, None where the job is not this installation's."""
    dag_id, run_id, task_id, index = (job.origin.get(name) for name in ("dag_id", "run_id", "task_id", "map_index"))
    if not installation or job.origin.get("installation") != installation:
        return None
    if not all(isinstance(name, str) and name for name in (dag_id, run_id, task_id)):
        return None
    return Task(str(dag_id), str(run_id), str(task_id), index if isinstance(index, int) else -1)


def ask_states(tasks_of_jobs: Iterable[Task], tasks: Tasks) -> Iterator[tuple[Task, str | None]]:
    """Yield the tasks that Airflow knows, each with its state."""
    grouped: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks_of_jobs:
        grouped[task.dag_id, task.task_id].append(task)
    for (dag_id, task_id), group in grouped.items():
        runs = sorted({task.run_id for task in group})
        known: dict[str, Any] = {}
        for first in range(0, len(runs), AT_A_TIME):
            chunk = runs[first : first + AT_A_TIME]
            known |= tasks.get_task_states(dag_id, task_ids=[task_id], run_ids=chunk)
        for task in group:
            # One task at a time is asked for, so these names cannot be another one's.
            name = task_id if task.map_index < 0 else f"{task_id}_{task.map_index}"
            if name in known.get(task.run_id, {}):
                yield task, known[task.run_id][name]


def reason(job: Queued, task: Task, states: dict[Task, str | None], tasks: Tasks) -> str:
    """Return why nobody waits for a job, '' where somebody does, or may."""
    if task not in states:
        return "its task is gone"
    state = states[task]
    if state in ENDED:
        return f"its task has ended ({state})"
    held = tasks.xcom_pull(task.task_id, task.dag_id, XCOM, map_indexes=task.map_index, run_id=task.run_id)
    token = held.get("token") if isinstance(held, dict) else None
    # Without a token the task is between two tries.
    return f"its task has another job ({held.get('job_id') or 'submitting'})" if token not in (None, job.token) else ""


def sweep(
    cluster: Callable[[], Cluster],
    installation: str,
    tasks: Tasks,
    *,
    youngest: float,
    cancel: bool,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Look for orphans twice, cancel those that still are, and return a row for each.

    :param cluster: makes a cluster to ask
    :param installation: the word of this installation; without one no job is known to be ours
    :param tasks: what knows the states and XComs of tasks
    :param youngest: jobs that were submitted less than so many seconds ago are left alone
    :param cancel: whether they are cancelled, or reported only
    :param tell: takes a sentence for the log
    """
    first = find(asyncio.run(queue_of(cluster)), installation, tasks, youngest=youngest)
    if not first:
        return []
    pause = min(SECOND_LOOK, youngest / 5)
    tell(f"{len(first)} jobs without a task; looking again in {pause:.0f} s")
    time.sleep(pause)
    suspects = {orphan.job.token for orphan in first}
    jobs = [job for job in asyncio.run(queue_of(cluster)) if job.token in suspects]
    orphans = find(jobs, installation, tasks, youngest=youngest)
    done = asyncio.run(cancel_all(cluster, orphans)) if cancel else dict.fromkeys(suspects, "")
    return [row(orphan, done[orphan.job.token], cancel=cancel) for orphan in orphans]


def row(orphan: Orphan, trouble: str, *, cancel: bool) -> dict[str, Any]:
    """Return what the table says of an orphan."""
    ended = f"not cancelled ({trouble})" if trouble else "cancelled" if cancel else "left, as the form says"
    says = f"job {orphan.job.job_id} ({orphan.job.state}) of {orphan.task}: {orphan.why}; {ended}."
    return {"job": orphan.job.job_id, "state": "failed" if trouble else ended.partition(",")[0], "says": says}


async def queue_of(cluster: Callable[[], Cluster]) -> list[Queued]:
    """Return the jobs of ours in a queue."""
    asked = cluster()
    try:
        return await asked.queued()
    finally:
        await asked.close()


async def cancel_all(cluster: Callable[[], Cluster], orphans: list[Orphan]) -> dict[str, str]:
    """Cancel jobs; return by token what went wrong, '' where nothing did."""
    asked, done = cluster(), {}
    try:
        for orphan in orphans:
            try:
                await asked.cancel(orphan.job.token, orphan.job.job_id)
                done[orphan.job.token] = ""
            except ClusterError as error:
                done[orphan.job.token] = str(error).rstrip(".")
    finally:
        await asked.close()
    return done
