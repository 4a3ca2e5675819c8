"""Who asks a cluster for a thousand jobs? One watcher a process and platform: one connection, one look at a time.

Triggers follow a job with it. It runs in a context of its own, so that what it or asyncssh says is in no task's log.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from windrose.slurm.followed import Followed
from windrose.slurm.model import AccessError, Asked, Cluster, ClusterError
from windrose.slurm.pace import REMIND, Pace

OPEN_LIMIT = 60.0  # seconds for Airflow to tell the connection
LOOK_LIMIT, ACT_LIMIT = 900.0, 300.0  # whatever the cluster's own limits are: nothing here waits for ever
CLOSE_LIMIT = 10.0
ACTS_AT_ONCE = 3  # cancels and tails beside the look; sites count channels, and people
GOES_ON = "The job goes on meanwhile"
TROUBLE = (ClusterError, TimeoutError, OSError)  # anything else is a mistake of ours
SOON = 0.25  # of its pause: what is due that soon is asked with the rest

Answer = TypeVar("Answer")
Open = Callable[[str], Awaitable[Cluster]]
log = logging.getLogger(__name__)


class Watcher:
    """Watches all jobs of a platform that this process follows, and ends with the last of them."""

    def __init__(self, platform: str, open_cluster: Open, pace: Pace | None = None) -> None:
        """Begin to watch; there is nothing to do yet."""
        self.platform = platform
        self.open_cluster = open_cluster
        self.pace = pace or Pace()
        self.jobs: list[Followed] = []
        self.acts: set[asyncio.Task[Any]] = set()
        self.cluster: Cluster | None = None
        self.problem = ""  # why the cluster cannot be asked now; '' where it answered last
        self.needs_somebody = False
        self.failures = 0
        self.retry_at = 0.0
        self.awake = asyncio.Event()
        self.connecting = asyncio.Lock()
        self.few = asyncio.Semaphore(ACTS_AT_ONCE)
        self.is_over = False
        self.loop = asyncio.get_running_loop()
        self.task = self.start(self.watch())
        self.task.add_done_callback(self.ended)

    def start(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Start work outside every trigger's context."""
        return self.loop.create_task(work, context=contextvars.Context())

    def follow(self, asked: Asked) -> Followed:
        """Look at a job from now on, until it is left."""
        job = Followed(asked, self.awake.set)
        self.jobs.append(job)
        if self.problem:
            job.tell(self.sentence())
        self.awake.set()
        return job

    def leave(self, job: Followed) -> None:
        """Look at a job no more."""
        with suppress(ValueError):
            self.jobs.remove(job)
        self.awake.set()

    async def act(self, what: Callable[[Cluster], Awaitable[Answer]], limit: float) -> Answer:
        """Do something else there, again until it is done or time is up; that its caller goes does not end it."""
        if self.failures:
            # Somebody waits for this: the next try is not a minute away.
            self.retry_at = min(self.retry_at, time.monotonic() + self.pace.retry)
        task = self.start(self.keep_acting(what, limit))
        self.acts.add(task)
        task.add_done_callback(self.acted)
        return await asyncio.shield(task)

    def acted(self, task: asyncio.Task[Any]) -> None:
        """Forget something that is done; whoever waited for it knows what came of it, and may have gone."""
        self.acts.discard(task)
        if not task.cancelled():
            task.exception()
        self.awake.set()

    async def keep_acting(self, what: Callable[[Cluster], Awaitable[Answer]], limit: float) -> Answer:
        """Try until it is done."""
        try:
            async with asyncio.timeout(limit):
                while True:
                    cluster = None
                    try:
                        cluster = await self.connected()
                        return await self.act_once(what, cluster)
                    except TROUBLE as error:
                        if cluster is not None:
                            await self.lost(cluster, error)
        except TimeoutError as error:
            raise ClusterError(self.problem or "no answer within the time") from error

    async def act_once(self, what: Callable[[Cluster], Awaitable[Answer]], cluster: Cluster) -> Answer:
        """Do it, while few others do something."""
        try:
            async with self.few, asyncio.timeout(ACT_LIMIT):
                answer = await what(cluster)
        finally:
            if cluster is not self.cluster:
                # It was lost meanwhile; this may have connected it once more.
                await self.close(cluster)
        self.back()
        return answer

    async def watch(self) -> None:
        """Look at whatever is due, until there is no job left for a while."""
        try:
            while await self.has_work():
                due = self.due()
                if due:
                    began = time.monotonic()
                    await self.look(due)
                    # A login node that takes long to answer is left alone for as long.
                    await asyncio.sleep(min(max(self.pace.gap, time.monotonic() - began), self.pace.old))
                else:
                    await self.rest()
        finally:
            self.is_over = True
            cluster, self.cluster = self.cluster, None
            await self.close(cluster)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Tell the jobs that are left; there are none, unless this process ends or we made a mistake."""
        self.is_over = True
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: the watcher ended by a mistake of its own", self.platform, exc_info=error)
        for job in self.jobs:
            job.end()

    async def has_work(self) -> bool:
        """Say whether there is a job, or comes one soon; the connection is kept that long."""
        end = time.monotonic() + self.pace.idle
        while not self.jobs and not self.acts and (left := end - time.monotonic()) > 0:
            self.awake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.awake.wait()
        # From here to the end nothing waits, so that nobody can follow a job with a watcher that ends.
        self.is_over = not self.jobs and not self.acts
        return not self.is_over

    def due(self) -> list[Followed]:
        """Return the jobs to look at now, one of each token, without those whose last answer nobody took yet."""
        now = time.monotonic()
        free = [job for job in self.jobs if job.is_free]
        if not any(job.due <= now for job in free):
            return []
        soon = {job.asked.token: job for job in reversed(free) if job.due <= now + SOON * job.pause}
        return list(soon.values())

    async def rest(self) -> None:
        """Wait until the next job is due, or something happens."""
        self.awake.clear()
        free = [job.due for job in self.jobs if job.is_free]
        left = min(free) - time.monotonic() if free else self.pace.old
        with suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.001)):
                await self.awake.wait()

    async def look(self, due: list[Followed]) -> None:
        """Look at these jobs at once; a failure of any kind is told, and never the end of it."""
        cluster = None
        try:
            cluster = await self.connected()
            async with asyncio.timeout(LOOK_LIMIT):
                found = await cluster.look([job.asked for job in due])
        except Exception as error:
            if cluster is not None:
                await self.lost(cluster, error)
            return
        self.back()
        now = time.monotonic()
        for job in due:
            job.take(found.get(job.asked.token), now, self.pace)

    async def connected(self) -> Cluster:
        """Return the cluster; where it was lost, begin anew with whatever the connection says by now."""
        async with self.connecting:
            if self.cluster is None:
                while (left := self.retry_at - time.monotonic()) > 0:
                    await asyncio.sleep(min(left, self.pace.retry))
                try:
                    async with asyncio.timeout(OPEN_LIMIT):
                        self.cluster = await self.open_cluster(self.platform)
                except Exception as error:
                    await self.lost(None, error)
                    raise ClusterError(self.problem) from error
            return self.cluster

    async def lost(self, cluster: Cluster | None, error: Exception) -> None:
        """Let go of the connection, and tell every job why it is not asked now."""
        if cluster is not self.cluster:
            return  # another look or act has met the same already
        self.cluster = None
        self.failures += 1
        is_access = isinstance(error, AccessError)
        pause = self.pace.retry_pause(self.failures, is_access=is_access)
        self.retry_at = time.monotonic() + max(pause, float(getattr(error, "seconds", 0) or 0))
        is_new = not self.problem or is_access != self.needs_somebody
        # A cluster says of itself which one it is.
        self.problem, self.needs_somebody = explained(error).removeprefix(f"{self.platform}: "), is_access
        if is_new:
            log.warning("%s: %s", self.platform, self.problem, exc_info=None if isinstance(error, TROUBLE) else error)
        for job in self.jobs:
            if is_new or (is_access and job.is_to_be_reminded(REMIND)):
                job.tell(self.sentence())
        await self.close(cluster)

    def back(self) -> None:
        """Remember that the cluster answers, and tell every job that was told otherwise."""
        if not self.failures:
            return
        self.failures, self.problem, self.needs_somebody = 0, "", False
        log.warning("%s answers again", self.platform)
        for job in self.jobs:
            if job.was_told:
                job.tell(f"{self.platform} answers again")
                job.was_told = False

    def sentence(self) -> str:
        """Return what a job is told while its cluster cannot be asked."""
        if self.needs_somebody:
            return f"{self.platform} does not let us in: {self.problem}. {GOES_ON}; asked again once that is mended."
        return f"{self.platform} cannot be asked now: {self.problem}. {GOES_ON}; asking again."

    async def close(self, cluster: Cluster | None) -> None:
        """Let go of a connection that may be broken."""
        if cluster is not None:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await cluster.close()


def explained(error: Exception) -> str:
    """Return what was wrong, in words."""
    if isinstance(error, TimeoutError):
        return "no answer within the time"
    text = str(error).strip().rstrip(".")
    return text if isinstance(error, ClusterError) else f"{type(error).__name__}: {text}"[:300]


watchers: dict[str, Watcher] = {}


def watcher_of(platform: str, open_cluster: Open, pace: Pace | None = None) -> Watcher:
    """Return this process's watcher of a platform; a new one where the last has ended."""
    found = watchers.get(platform)
    if found is None or found.is_over or found.task.done() or found.loop is not asyncio.get_running_loop():
        found = watchers[platform] = Watcher(platform, open_cluster, pace)
    return found
