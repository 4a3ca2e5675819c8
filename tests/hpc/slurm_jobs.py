"""What the tests of the tier do with jobs: hand them over, look at them, wait for their end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from windrose.hooks.slurm import SlurmHook
from windrose.slurm.model import Asked, Cluster, Job, Platform, Seen, Submitted
from windrose.slurm.script import Resources, Work, normal, render
from windrose.slurm.states import History, Verdict, judge

PLATFORM = "hpc-demo"
SIGNS = "abcdefghijklmnopqrstuvwxyz234567"


def new_job(command: str = "", *, script: str = "", platform: Platform | None = None, **resources: Any) -> Job:
    """Return a job with a token of its own."""
    token = "".join(secrets.choice(SIGNS) for _ in range(20))
    name = f"wr.tests.{token}"
    known = platform or SlurmHook(PLATFORM).platform
    extra = resources.pop("extra_directives", None)
    work, asked = Work(command=command, script=script), Resources(**resources)
    text = render(name, work, platform=known, resources=asked, extra_directives=extra)
    return Job(token, name, text, normal(script), {"dag_id": "tests"})


def on_cluster(action: Callable[[Cluster], Awaitable[Any]]) -> Any:
    """Do something with a cluster, over a connection of its own."""

    async def act() -> Any:
        cluster = SlurmHook(PLATFORM).cluster()
        try:
            return await action(cluster)
        finally:
            await cluster.close()

    return asyncio.run(act())


def submit(job: Job) -> Any:
    """Submit a job."""
    return on_cluster(lambda cluster: cluster.submit(job))


def submitted(job: Job) -> Asked:
    """Submit a job that is taken, and return what asks for it."""
    found = submit(job)
    assert isinstance(found, Submitted), found
    return Asked(job.token, found.job_id, found.folder, array="#SBATCH --array=" in job.script)


def look(asked: Asked) -> Seen:
    """Look at a job once."""
    found: dict[str, Seen] = on_cluster(lambda cluster: cluster.look([asked]))
    return found[asked.token]


async def watch(
    cluster: Cluster, asked: Asked, until: Callable[[Verdict], bool], within: float
) -> tuple[Verdict, Seen]:
    """Look at a job until something is so."""
    history, end = History(), time.monotonic() + within
    while True:
        seen = (await cluster.look([asked]))[asked.token]
        verdict = judge(seen, history, time.monotonic())
        if until(verdict):
            return verdict, seen
        assert time.monotonic() < end, (verdict, seen)
        await asyncio.sleep(0.3)


def until_end(asked: Asked, *, within: float = 60) -> tuple[Verdict, Seen]:
    """Look at a job until it has ended with certainty."""
    found: tuple[Verdict, Seen] = on_cluster(lambda cluster: watch(cluster, asked, lambda one: one.is_end, within))
    return found


def until_word(asked: Asked, word: str, *, within: float = 40) -> tuple[Verdict, Seen]:
    """Look at a job until Slurm has a certain word for its state."""
    found: tuple[Verdict, Seen] = on_cluster(
        lambda cluster: watch(cluster, asked, lambda one: one.word == word, within)
    )
    return found
