"""Waits for a Slurm job without a worker slot: shows its log, keeps its time limit, cancels it when its task is killed.

All triggers of a platform in one triggerer share a watcher: one connection, one look at a time for all of their jobs.
Airflow's own shared streams do not serve here: they are for triggers of assets, and their stream knows nothing of what
the single triggers want of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from windrose.slurm.following import CANCEL_LIMIT, Deferred, Following, failure
from windrose.slurm.model import AccessError, Cluster
from windrose.slurm.watcher import Watcher, watcher_of

KILL_WAIT = 25.0  # of the 30 s that Airflow gives on_kill
kills: set[asyncio.Task[str]] = set()  # asyncio itself does not hold its tasks


class Ended(dict[str, Any]):
    """An event that Airflow, which writes the whole of it into the log, writes as a few words."""

    def __repr__(self) -> str:
        """Return which job it is about; its last lines are in the log already."""
        return f"job {self['job_id']}: {self['ended']}"


class JobTrigger(BaseTrigger):
    """A trigger of a task that has a job: cancels it when somebody ends the task."""

    def __init__(self, platform: str, token: str, job_id: str = "") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.platform, self.token, self.job_id = platform, token, job_id
        self.called = f"job {job_id}" if job_id else "the job that may have been submitted"

    def watcher(self) -> Watcher:
        """Return this triggerer's watcher of the platform."""
        return watcher_of(self.platform, open_cluster)

    async def on_kill(self) -> None:
        """Cancel the job of a task that somebody has ended.

        Airflow gives this 30 s by its settings, and sends its cancel again each second until the trigger has ended. So
        the work is done beside it, and goes on if this must end before.
        """
        work = asyncio.create_task(self.kill())
        kills.add(work)
        work.add_done_callback(kills.discard)
        end = time.monotonic() + KILL_WAIT
        while not work.done() and (left := end - time.monotonic()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({work}, timeout=left)
        if not work.done():
            self.log.warning("%s is not cancelled yet; still trying", self.called)
        elif problem := failure(work):
            self.log.warning("%s could not be cancelled (%s); the hourly check will", self.called, problem)

    async def kill(self) -> str:
        """Cancel the job, unless its task still waits for it."""
        if await self.is_still_wanted():
            self.log.info("another triggerer follows %s from now on", self.called)
            return ""
        self.log.info("cancelling %s on %s", self.called, self.platform)

        async def cancel(cluster: Cluster) -> str:
            return await cluster.cancel(self.token, self.job_id)

        found = await self.watcher().act(cancel, CANCEL_LIMIT)
        self.log.info("%s is cancelled", f"job {found}" if found else self.called)
        return found

    async def is_still_wanted(self) -> bool:
        """Say whether the task waits on: what passes to another triggerer is ended here as if it were killed."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti = self.task_instance
        if ti is None:
            return False
        words: dict[str, Any] = {"dag_id": ti.dag_id, "task_ids": [ti.task_id], "run_ids": [ti.run_id]}
        try:
            # In a thread, because it waits for its answer.
            found = await asyncio.to_thread(RuntimeTaskInstance.get_task_states, **words, map_index=ti.map_index)
        except Exception as error:
            self.log.warning("Airflow does not tell the state of the task: %s", error)
            return False
        return any(state == "deferred" for run in found.values() for state in run.values())


class SlurmTrigger(JobTrigger):
    """Follows one job to its end, and fires once that is certain.

    :param job: what `Deferred` has: `platform`, `token`, `job_id` and `folder`, and where wanted `name`, `array`,
        `deadline` (seconds since 1970 at which the job is cancelled) and `log_mb`.
    """

    def __init__(self, **job: Any) -> None:  # noqa: ANN401 - checked by Deferred
        self.job = Deferred(**{"since": time.time(), **job})
        super().__init__(self.job.platform, self.job.token, self.job.job_id)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes it of."""
        return "windrose.triggers.slurm.SlurmTrigger", asdict(self.job)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end of the job; as long as it is not certain there is no event."""
        event = Ended(await Following(self.job, self.log, self.watcher).run())
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]


async def open_cluster(platform: str) -> Cluster:
    """Return the cluster that a connection leads to, as it is registered now."""
    from windrose.hooks.slurm import SlurmHook

    try:
        # In a thread, because a connection is asked for in a way that waits.
        return await asyncio.to_thread(lambda: SlurmHook(platform).cluster())
    except AirflowFailException as error:
        # A worker would give up. The job goes on, and the connection may be mended.
        raise AccessError(str(error)) from error
