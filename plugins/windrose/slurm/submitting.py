"""Handing a job to its cluster from a worker, for as long as that is worth a worker's slot."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

from windrose.slurm.model import AccessError, Cluster, ClusterError, Job, Refused, Submitted, Unsure

IN_SLOT = 40.0  # seconds that a worker's slot is held for a cluster that does not answer; then the task defers
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 15.0
DEFERRED_PAUSES = (30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class Later:
    """A cluster that does not answer yet: to be asked again after so many seconds, if that says anything."""

    says: str
    seconds: float = 0.0


class Stopped(Exception):
    """The task was killed while it submitted."""


async def submit(
    cluster: Cluster, job: Job, *, tell: Callable[[str], object], is_stopped: Callable[[], bool]
) -> Submitted | Refused | Later:
    """Submit a job, and ask again where the cluster does not answer or cannot say yet."""
    end, pause = time.monotonic() + IN_SLOT, FIRST_PAUSE
    while True:
        if is_stopped():
            raise Stopped
        try:
            answer = await cluster.submit(job)
        except AccessError as error:
            return Later(str(error))  # until somebody has done something
        except ClusterError as error:
            seconds, says = float(getattr(error, "seconds", 0) or 0), str(error)
        else:
            if not isinstance(answer, Unsure):
                return answer
            seconds, says = answer.seconds, answer.says
        wait = max(seconds, pause * random.uniform(0.5, 1.0))  # noqa: S311 - nothing secret
        if time.monotonic() + wait > end:
            return Later(says, seconds)
        tell(f"{says} Asking again in {wait:.0f} s.")
        await asyncio.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE)


def deferred_pause(later: Later, waits: int) -> float:
    """Return for how long the task lets go of its slot, having done so that often already."""
    return max(later.seconds, DEFERRED_PAUSES[min(waits, len(DEFERRED_PAUSES) - 1)])


async def using(cluster: Cluster, action: Callable[[Cluster], Awaitable[Any]]) -> Any:  # noqa: ANN401 - the action's
    """Do something with a cluster, and let go of its connections."""
    try:
        return await action(cluster)
    finally:
        await cluster.close()


def beside(action: Callable[[], Any], seconds: float | None = None) -> Any:  # noqa: ANN401 - the action's
    """Run something in a thread, and return what it returns; None where it takes longer than it may.

    The main thread has nothing to do but wait: a signal reaches it at once, and its handler finds no event loop and no
    half-read answer in its way.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(action())
        except BaseException as error:  # raised again where it is waited for
            failed.append(error)

    thread = Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    end = None if seconds is None else time.monotonic() + seconds
    while thread.is_alive() and (end is None or time.monotonic() < end):
        thread.join(0.1)
    if failed:
        raise failed[0]
    return found[0] if found else None
