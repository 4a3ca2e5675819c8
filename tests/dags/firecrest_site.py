"""A FirecREST on this machine, over the stand-in for Slurm: what the tests of this folder share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windrose.slurm.firecrest_cluster import FirecrestCluster
from windrose.slurm.model import Asked, Job, Platform, Submitted

from tests import fake_slurm, firecrest_server
from tests.fake_slurm import FakeSlurm
from tests.firecrest_state import CLIENT, SECRET, SYSTEM, Shell, State
from tests.firecrest_support import Site


@contextmanager
def local_site(folder: Path) -> Iterator[tuple[Site, FakeSlurm]]:
    """Run the server over the stand-in."""
    slurm = fake_slurm.make(folder)
    state = State(Shell(environment=slurm.environment), (str(slurm.scratch),), user="me")
    with firecrest_server.running(state) as server:
        yield Site(server.url, f"{server.url}/token", CLIENT, SECRET, SYSTEM, str(slurm.scratch), state=state), slurm


def cluster_of(site: Site, **extra: object) -> FirecrestCluster:
    """Return the cluster behind a site."""
    return FirecrestCluster(Platform("hpc-x", transport="firecrest", scratch=site.scratch), site.connection(**extra))


def a_job(body: str = "echo done", *, directives: str = "") -> Job:
    """Return a job of a token that no other has, with the exit record that every job of ours writes."""
    token = "".join(random.choices("abcdefghijklmnopqrstuvwxyz234567", k=20))
    name = f"wr.dag.task.{token}"
    script = (
        f"#!/bin/bash\n#SBATCH --job-name={name}\n#SBATCH --output={{folder}}/out\n#SBATCH --error={{folder}}/err\n"
        f"{directives}\n( {body} )\ncode=$?\necho $code > {{folder}}/.exit && mv {{folder}}/.exit {{folder}}/exit.0\n"
        "exit $code\n"
    )
    return Job(token, name, script, payload=body, origin={"dag_id": "dag", "task_id": "task"})


def with_cluster(site, work, **extra):
    """Do something with a cluster in a loop of its own, as a new process would."""

    async def together():
        cluster = cluster_of(site, **extra)
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(together())


def submitted(site, job):
    found = with_cluster(site, lambda cluster: cluster.submit(job))
    assert isinstance(found, Submitted), found
    return found


def looked(site, job, found, **known):
    asked = Asked(job.token, found.job_id, found.folder, **known)
    return with_cluster(site, lambda cluster: cluster.look([asked]))[job.token]


def until_ended(site, job, found, *, within=20):
    end = time.monotonic() + within
    while time.monotonic() < end:
        seen = looked(site, job, found)
        if seen.record is not None and seen.facts is not None and seen.facts.source == "accounting":
            return seen
        time.sleep(0.1)
    raise AssertionError(seen)
