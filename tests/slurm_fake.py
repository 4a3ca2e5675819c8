"""A cluster that is none: it answers as it is told, because lost connections and a thousand jobs cannot be had at will.

What a real one answers is tested in tests/hpc.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from windrose.slurm.model import Asked, Facts, Job, Queued, Record, Refused, Seen, Submitted, Unsure

log = logging.getLogger("fake.cluster")


@dataclass
class FakeJob:
    """A job as the fake cluster has it."""

    facts: Facts | None = field(default_factory=lambda: Facts(state="RUNNING", source="queue"))
    record: Record | None = None
    out: bytes = b""
    err: bytes = b""

    def ends(self, state: str, code: int = 0, **facts: Any) -> None:
        """End, as accounting tells it."""
        self.facts = Facts(state=state, code=code, source="accounting", **facts)


class FakeCluster:
    """All connections to one pretended cluster; `problem` is raised by whatever is asked."""

    def __init__(self) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.problem: Exception | None = None
        self.problem_of_acts: Exception | None = None
        self.opened = self.closed = self.looks = self.acting = self.most_acting = 0
        self.looking = self.most_looking = 0
        self.asked: list[list[Asked]] = []
        self.cancelled: list[str] = []
        self.on_cancel: Callable[[str], None] = lambda token: self.jobs[token].ends("CANCELLED", by="researcher")
        self.seconds = 0.0  # that an answer takes
        self.lines = ([], [])
        self.piece = 64 * 1024

    async def open(self, platform: str) -> FakeCluster:
        """Count the connections."""
        self.opened += 1
        return self

    async def answer(self) -> None:
        """Take as long as a cluster takes, or do not answer at all."""
        log.warning("chatter of the connection")
        await asyncio.sleep(self.seconds)
        if self.problem is not None:
            raise self.problem

    async def submit(self, job: Job) -> Submitted | Refused | Unsure:
        raise NotImplementedError

    async def queued(self) -> list[Queued]:
        raise NotImplementedError

    async def look(self, asked: Sequence[Asked]) -> dict[str, Seen]:
        """Tell what there is of these jobs."""
        self.looks += 1
        self.looking += 1
        self.most_looking = max(self.looking, self.most_looking)
        self.asked.append([Asked(a.token, a.job_id, a.folder, a.array, a.out, a.err) for a in asked])
        try:
            await self.answer()
            return {one.token: self.seen(one) for one in asked if one.token in self.jobs}
        finally:
            self.looking -= 1

    def seen(self, asked: Asked) -> Seen:
        """Return what is new of a job."""
        job = self.jobs[asked.token]
        out, out_at, more = self.read(job.out, asked.out)
        err, err_at, more_err = self.read(job.err, asked.err)
        return Seen(job.facts, job.record, "ok", out, err, out_at, err_at, more or more_err)

    def read(self, data: bytes, at: int | None) -> tuple[bytes, int, bool]:
        """Return the next bytes of a file."""
        if at == -1:
            return b"", -1, False
        start = max(0, len(data) - 1024) if at is None else 0 if at > len(data) else at
        new = data[start : start + self.piece]
        return new, start + len(new), start + len(new) < len(data)

    async def tail(self, asked: Asked) -> tuple[list[str], list[str]]:
        """Tell the last lines."""
        await self.act()
        return self.lines

    async def cancel(self, token: str, job_id: str = "") -> str:
        """Cancel a job."""
        await self.act()
        self.cancelled.append(token)
        self.on_cancel(token)
        return job_id

    async def act(self) -> None:
        """Count what is done beside the looks."""
        self.acting += 1
        self.most_acting = max(self.acting, self.most_acting)
        try:
            await self.answer()
            if self.problem_of_acts is not None:
                raise self.problem_of_acts
        finally:
            self.acting -= 1

    async def close(self) -> None:
        """Count."""
        self.closed += 1
