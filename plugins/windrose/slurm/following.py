"""Follows one job to its end: writes its log, tells each change once, keeps its time limit, says what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from windrose.slurm.course import Course
from windrose.slurm.followed import Followed, WatcherEnded
from windrose.slurm.job_log import LONGEST_LINE, JobLog, bounded, marked, readable
from windrose.slurm.model import Asked, Cluster, Facts, Seen
from windrose.slurm.pace import REMIND
from windrose.slurm.watcher import Watcher

LATE = 90.0  # seconds after which a trigger does not begin to follow a job, but goes on after a restart
AT_ONCE = 50  # lines written before others have their turn
TAIL_LIMIT = 180.0
CANCEL_LIMIT = 3600.0  # for as long as a cancel is tried again; after that the sweep of platform-check finds the job
END_LIMIT = 600.0  # between a cancel and the job's end, which may have much to tidy up
PATIENCE = 60.0
AGAIN = 5.0


class Log(Protocol):
    """Where a task's log lines go."""

    def info(self, message: str, /, *words: object) -> object:
        """Write a line."""

    def warning(self, message: str, /, *words: object) -> object:
        """Write a line that somebody should read."""

    def exception(self, message: str, /, *words: object) -> object:
        """Write a line and where the mistake of ours lies."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A job that a task waits for, as it is stored with the task."""

    platform: str
    token: str
    job_id: str
    folder: str  # on the cluster
    name: str = ""
    array: bool = False
    deadline: float | None = None  # seconds since 1970 at which it is cancelled
    log_mb: float = 10.0
    since: float = 0.0  # when the task was deferred


class Following:
    """What a trigger does with a job."""

    def __init__(self, job: Deferred, log: Log, find_watcher: Callable[[], Watcher]) -> None:
        """Remember what to follow, and where to write."""
        self.job = job
        self.log = log
        self.find_watcher = find_watcher
        self.output = JobLog(int(job.log_mb * 1000**2))
        self.course = Course(job.job_id)
        self.is_late = time.time() - job.since > LATE
        begin = None if self.is_late else 0
        self.asked = Asked(job.token, job.job_id, job.folder, job.array, begin, begin)
        self.last: Seen | None = None
        self.ending: asyncio.Task[str] | None = None  # the cancel at the deadline
        self.give_up_at: float | None = None
        self.mistake_at = float("-inf")
        self.farewell: list[str] = []

    async def run(self) -> dict[str, Any]:
        """Follow the job until its end is certain; return what its task is told."""
        if self.is_late and not self.job.array:
            self.log.info(
                "going on with job %s after a restart; what its output was before is in %s",
                *(self.job.job_id, self.job.folder),
            )
        while True:
            watcher = self.find_watcher()
            followed = watcher.follow(self.asked)
            try:
                return await self.follow(watcher, followed)
            except WatcherEnded:
                self.log.warning("nobody watches %s any more; beginning again", self.job.platform)
                await asyncio.sleep(AGAIN)
            finally:
                watcher.leave(followed)

    async def follow(self, watcher: Watcher, followed: Followed) -> dict[str, Any]:
        """Take what is seen until the job has ended, or nobody can wait for its end any longer."""
        is_over = False
        while not is_over:
            news = await followed.next(self.patience())
            for sentence in news.told:
                self.log.warning("%s", sentence)
            if news.seen is not None:
                is_over = await self.take(followed, news.seen)
            self.keep_time(watcher, followed)
            is_over = is_over or (self.give_up_at is not None and time.time() > self.give_up_at)
        return await self.event(watcher)

    async def take(self, followed: Followed, seen: Seen) -> bool:
        """Write down what was seen; say whether that was the end. A mistake of ours is told, and is not the end."""
        try:
            self.last = seen
            told = self.course.tell(seen, time.monotonic())
            if self.course.is_ended:
                self.farewell += told  # said when the last line of the job is written
            else:
                self.say(told)
            await self.write(followed, seen)
            # More output may be on its way, of which the log still takes some.
            return self.course.is_ended and not (seen.more and not followed.is_deaf)
        except Exception:
            # A mistake of ours must not end a task whose job goes on; it is told with its traceback, once an hour.
            if time.monotonic() - self.mistake_at > REMIND:
                self.mistake_at = time.monotonic()
                self.log.exception("a mistake of windrose with what was seen of job %s; looking again", self.job.job_id)
            return False

    async def write(self, followed: Followed, seen: Seen) -> None:
        """Write the job's new lines, and one that says where the file is once there are too many."""
        if followed.is_deaf:
            return
        for number, line in enumerate(self.output.add(seen.out, seen.err), 1):
            self.log.info("%s", line)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if self.output.is_full:
            followed.listen_no_more()
            self.log.warning(
                "the log is full at %g MB; the whole output is in %s on %s, and its last lines follow at the end",
                *(self.job.log_mb, self.job.folder, self.job.platform),
            )

    def say(self, sentences: list[str]) -> None:
        """Write what there is to say."""
        for sentence in sentences:
            self.log.info("%s", sentence)

    def patience(self) -> float:
        """Return for how long nothing needs to be done."""
        ends = [end for end in (self.job.deadline, self.give_up_at) if end is not None and end > time.time()]
        return min([PATIENCE, *(end - time.time() for end in ends)])

    def keep_time(self, watcher: Watcher, followed: Followed) -> None:
        """Cancel the job when its time is over; give up on a job that does not end even then."""
        if self.job.deadline is None or time.time() < self.job.deadline:
            return
        if self.ending is None:
            self.log.warning("the task's time for job %s is over; cancelling it", self.job.job_id)
            self.ending = asyncio.ensure_future(watcher.act(self.cancel, CANCEL_LIMIT))
            self.ending.add_done_callback(failure)  # asyncio complains of failures that nobody looks at
            self.ending.add_done_callback(followed.nudge)
        if self.ending.done() and self.give_up_at is None:
            if problem := failure(self.ending):
                self.log.warning("job %s could not be cancelled (%s)", self.job.job_id, problem)
            self.give_up_at = time.time() + (0 if problem else END_LIMIT)

    async def cancel(self, cluster: Cluster) -> str:
        """Cancel the job."""
        return await cluster.cancel(self.job.token, self.job.job_id)

    async def event(self, watcher: Watcher) -> dict[str, Any]:
        """Return what the task is told, after the last lines are in the log."""
        seen, is_good = self.last or Seen(), self.course.is_good
        self.say(self.output.add(b"", b"", final=True))
        # What was passed over has an end of its own; what went by is not it.
        tail = {"out": [], "err": []} if self.output.is_full else self.output.kept()
        if self.output.is_full or (not is_good and (self.is_late or self.job.array)):
            tail = await self.tail(watcher, tail)
        # Of an array nothing was shown yet.
        if self.output.is_full or self.job.array:
            self.say([marked(name, line) for name, lines in tail.items() for line in lines])
        self.say(self.farewell)
        return {
            "token": self.job.token,
            "job_id": self.job.job_id,
            "folder": self.job.folder,
            "facts": plain(seen.facts) if seen.facts else None,
            "record": asdict(seen.record) if seen.record else None,
            # A job that ended well though its time was over has ended well.
            "ended": "deadline" if self.ending and not is_good else self.course.source,
            "tail": tail,
            "log_bytes": self.output.size,
        }

    async def tail(self, watcher: Watcher, known: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return the last lines of the files; where they cannot be had, those that are known."""
        try:
            out, err = await watcher.act(lambda cluster: cluster.tail(self.asked), TAIL_LIMIT)
        except Exception as error:  # whatever it is, the job's end is certain
            self.log.warning("the last lines of job %s could not be fetched: %s", self.job.job_id, error)
            return known
        return {"out": shown(out), "err": shown(err)}


def shown(lines: list[str]) -> list[str]:
    """Return lines that were fetched as those that went by are kept."""
    return bounded([readable(line)[:LONGEST_LINE] for line in lines])


def plain(facts: Facts) -> dict[str, Any]:
    """Return facts as JSON has them."""
    named = {field.name: getattr(facts, field.name) for field in fields(facts)}
    return {**named, "elements": dict(facts.elements)}


def failure(task: asyncio.Task[str]) -> str:
    """Return why something that is done did not succeed; '' where it did."""
    if task.cancelled():
        return "this triggerer is stopping"
    error = task.exception()
    return str(error) or type(error).__name__ if error else ""
