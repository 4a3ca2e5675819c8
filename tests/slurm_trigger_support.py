"""Runs Slurm triggers without a triggerer, and keeps what they write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from windrose.slurm.model import Facts
from windrose.slurm.pace import Pace

from tests.slurm_fake import FakeCluster, FakeJob

if TYPE_CHECKING:
    from windrose.triggers.slurm import SlurmTrigger

LIMIT = 20.0  # seconds that nothing with a fake cluster may take
FAST = Pace(young=0.01, old=0.05, steps=5, gap=0.002, retry=0.01, longest_retry=0.05, idle=0.05)
TOKEN = "abcdefghij234567abcd"
FOLDER = f"/scratch/.windrose/{TOKEN}"
RUNNING = Facts(state="RUNNING", nodes="demo-1", source="queue")


class Lines:
    """A log that keeps what is written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message, *words):
        self.lines.append(message % words if words else message)

    warning = exception = info

    def have(self, text: str) -> bool:
        """Say whether a line holds this."""
        return any(text in line for line in self.lines)


def lines_of_triggers(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Keep what triggers write from now on."""
    from windrose.triggers.slurm import JobTrigger

    found = Lines()
    monkeypatch.setattr(JobTrigger, "log", found)
    return found


def watched(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Return a fake cluster with one running job, to which every trigger's watcher connects, and let all go fast."""
    from windrose.slurm import states, watcher
    from windrose.triggers import slurm

    found = FakeCluster()
    found.jobs[TOKEN] = FakeJob(RUNNING)
    monkeypatch.setattr(slurm, "open_cluster", found.open)
    monkeypatch.setattr(states, "RECORD_SECONDS", 0.1)
    monkeypatch.setattr(states, "DETAIL_SECONDS", 0.1)
    monkeypatch.setattr(watcher, "Pace", lambda: FAST)
    return found


def trigger(**changed: Any) -> SlurmTrigger:
    """Return the trigger of the fake cluster's job."""
    from windrose.triggers.slurm import SlurmTrigger

    return SlurmTrigger(**{"platform": "hpc-demo", "token": TOKEN, "job_id": "77", "folder": FOLDER, **changed})


async def fired(one: SlurmTrigger) -> dict[str, Any]:
    """Run a trigger to its event."""
    return [event.payload async for event in one.run()][0]


def run(scene: Callable[[], Coroutine[Any, Any, Any]], limit: float = LIMIT) -> Any:
    """Run a test's coroutine to its end."""

    async def whole() -> Any:
        async with asyncio.timeout(limit):
            return await scene()

    return asyncio.run(whole())


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something; how long, the scene's limit says."""
    while not condition():
        await asyncio.sleep(0.005)


def event_of(one: SlurmTrigger, then: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """Run a trigger, do something meanwhile, and return its event."""

    async def scene() -> dict[str, Any]:
        task = asyncio.create_task(fired(one))
        await then()
        return await task

    return run(scene)
