"""What a watcher and a trigger know of a job between them: what was seen, what was told, and when it is due again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from windrose.slurm.model import Asked, Facts, Seen
from windrose.slurm.pace import Pace

NO_OUTPUT = -1  # where a job's output is wanted no more


class WatcherEnded(Exception):
    """A watcher that is no more, though a job was followed with it."""


@dataclass(frozen=True, slots=True)
class News:
    """What has come since a trigger asked last; nothing where time was up first."""

    seen: Seen | None = None
    told: tuple[str, ...] = ()


class Followed:
    """One job that a trigger follows. What was seen waits here; until it is taken, the job is not asked for again."""

    def __init__(self, asked: Asked, wake: Callable[[], None]) -> None:
        """Begin with a job that is due at once."""
        self.asked = asked
        self.wake = wake
        self.seen: Seen | None = None
        self.told: list[str] = []
        self.told_at = 0.0
        self.was_told = False
        self.is_ended = False
        self.due = 0.0
        self.pause = 0.0
        self.state: tuple[object, ...] = ()
        self.changed = time.monotonic()
        self.news = asyncio.Event()

    @property
    def is_free(self) -> bool:
        """Say whether it may be asked for."""
        return self.seen is None

    @property
    def is_deaf(self) -> bool:
        """Say whether its output is wanted no more."""
        return self.asked.out == NO_OUTPUT

    def take(self, seen: Seen | None, now: float, pace: Pace) -> None:
        """Take what a look saw, and say when the next is due."""
        facts = seen.facts if seen else None
        state = (facts.state, tuple(sorted(facts.elements.items()))) if facts else ()
        if state != self.state:
            self.state, self.changed = state, now
        self.pause = pace.pause(max(now - self.changed, ran(facts)))
        if seen is not None and seen.more:
            self.pause = 0.0
        self.due = now + self.pause
        if seen is not None:
            self.seen = seen
            self.news.set()

    def tell(self, sentence: str) -> None:
        """Let the trigger say something to its task."""
        self.told.append(sentence)
        self.told_at = time.monotonic()
        self.was_told = True
        self.news.set()

    def listen_no_more(self) -> None:
        """Ask for the job's state alone from now on."""
        self.asked.out = self.asked.err = NO_OUTPUT

    def is_to_be_reminded(self, seconds: float) -> bool:
        """Say whether it was told something that long ago."""
        return time.monotonic() - self.told_at > seconds

    def nudge(self, _: object = None) -> None:
        """Let the trigger look at what it has to do."""
        self.news.set()

    def end(self) -> None:
        """Say that nothing comes any more."""
        self.is_ended = True
        self.news.set()

    async def next(self, limit: float) -> News:
        """Return what has come, as soon as something has, or nothing when time is up."""
        if not self.is_ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self.news.wait()
        self.news.clear()
        found = News(self.seen, tuple(self.told))
        self.told.clear()
        if found.seen is not None:
            self.seen = None
            if not self.is_deaf:
                self.asked.out, self.asked.err = found.seen.out_at, found.seen.err_at
            if self.due <= time.monotonic():
                self.wake()
        if found == News() and self.is_ended:
            raise WatcherEnded
        return found


def ran(facts: Facts | None) -> float:
    """Return for how long a job runs by its own account: after a restart of ours it is as old as it was."""
    return float(facts.seconds) if facts and facts.state == "RUNNING" else 0.0
