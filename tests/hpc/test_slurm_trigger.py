"""Triggers that follow real jobs over real SSH: what they write, what they fire, what they cost the login node."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.ssh")

from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.sdk.execution_time import task_runner
from windrose.hooks.slurm import SlurmHook
from windrose.slurm import watcher
from windrose.slurm.model import Job, Submitted
from windrose.triggers.slurm import SlurmTrigger

from tests.slurm_trigger_support import Lines, fired, lines_of_triggers, until
from tests.slurm_trigger_support import run as run_within

PLATFORM = "hpc-demo"
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
LIMIT = 90


@pytest.fixture
def cluster(slurm, monkeypatch):
    # Airflow looks for the id in capitals, and leaves its hyphen.
    monkeypatch.setitem(os.environ, f"AIRFLOW_CONN_{PLATFORM.upper()}", slurm.connection_json())
    yield slurm
    slurm.cancel_all()


@pytest.fixture
def lines(monkeypatch) -> Lines:
    return lines_of_triggers(monkeypatch)


async def submitted(*bodies: str, more: str = "", **job) -> list[SlurmTrigger]:
    """Submit scripts as the operator does; return the triggers that follow them."""
    hook = SlurmHook(PLATFORM)
    there = hook.cluster()
    triggers = []
    for body in bodies:
        token = "".join(secrets.choice(LETTERS) for _ in range(20))
        name = f"wr.test-trigger.{token}"
        options = f"--job-name={name} --output={{folder}}/out --error={{folder}}/err --time=5 {more}"
        answer = await there.submit(Job(token, name, f"#!/bin/bash\n#SBATCH {options}\n{body}\n"))
        assert isinstance(answer, Submitted), answer
        known = {"platform": PLATFORM, "token": token, "job_id": answer.job_id, "folder": answer.folder}
        triggers.append(SlurmTrigger(**known, **job))
    await there.close()
    return triggers


def run(scene):
    """Run a test's coroutine, and let no watcher go on behind it."""

    async def whole():
        try:
            return await scene()
        finally:
            if found := watcher.watchers.pop(PLATFORM, None):
                found.task.cancel()
                await asyncio.wait({found.task})

    return run_within(whole, LIMIT)


def test_jobs_are_followed_to_their_true_ends_over_one_connection(cluster, lines):
    bodies = [f"echo out of {n}; sleep 6; echo error of {n} >&2; exit {n % 3}" for n in range(12)]

    async def scene():
        triggers = await submitted(*bodies)
        before, began = (cluster.logins(), cluster.commands()), time.monotonic()
        events = await asyncio.gather(*(fired(one) for one in triggers))
        took = time.monotonic() - began
        return events, cluster.logins() - before[0], (cluster.commands() - before[1]) / took

    events, logins, commands_a_second = run(scene)

    ends = [(event["facts"]["state"], event["facts"]["code"], event["ended"]) for event in events]
    wanted = [("COMPLETED", 0, "slurm"), ("FAILED", 1, "slurm"), ("FAILED", 2, "slurm")]
    assert ends == [wanted[n % 3] for n in range(12)]
    assert [event["tail"] for event in events] == [
        {"out": [f"out of {n}"], "err": [f"error of {n}"]} for n in range(12)
    ]
    assert sorted(line for line in lines.lines if "| " in line) == sorted(
        [*(f"out| out of {n}" for n in range(12)), *(f"err| error of {n}" for n in range(12))]
    )
    assert logins == 1
    # One look at a time, and a second between two of them, for all of them together.
    assert commands_a_second <= 1


def test_full_log_ends_with_the_last_lines_of_the_file(cluster, lines):
    async def scene():
        (one,) = await submitted("seq 20000; sleep 3; echo the end", log_mb=0.02)
        return await fired(one)

    event = run(scene)

    assert (event["facts"]["state"], event["tail"]["out"][-2:]) == ("COMPLETED", ["20000", "the end"])
    assert len(event["tail"]["out"]) == 200
    assert lines.have("RUNNING") and lines.have("the log is full at 0.02 MB")
    assert [line for line in lines.lines if line.startswith("out| ")][-1] == "out| the end"


def test_login_node_that_goes_down_is_told_and_no_end_is_missed(cluster, lines):
    async def scene():
        (one,) = await submitted("echo begun; sleep 4; echo done")
        task = asyncio.create_task(fired(one))
        await until(lambda: lines.have("out| begun"))
        cluster.stop("sshd")
        try:
            cluster.cut_connections()
            await until(lambda: lines.have("cannot be asked now"))
        finally:
            cluster.start("sshd")
        return await task

    event = run(scene)

    assert (event["facts"]["state"], event["tail"]["out"]) == ("COMPLETED", ["begun", "done"])
    assert lines.have("hpc-demo answers again")


def test_job_of_a_killed_task_is_cancelled_and_one_that_cannot_start_says_so(cluster, lines, monkeypatch):
    monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", lambda **_: {"run": {"job": "failed"}})

    async def scene():
        (one,) = await submitted("true", more="--partition=closed")
        known = {"id": "x", "dag_id": "dag", "task_id": "job", "run_id": "run", "map_index": -1, "try_number": 1}
        one.task_instance = SimpleNamespace(**known, context_carrier=None)
        runner = TriggerRunner()
        task = asyncio.create_task(runner.run_trigger(1, one))
        runner.triggers[1] = {"task": task, "is_watcher": False, "name": "a trigger", "events": 0}
        await until(lambda: lines.have("It cannot start"))
        runner.to_cancel.append(1)
        await runner.cancel_triggers()
        await asyncio.wait({task})
        await until(lambda: lines.have("is cancelled"))
        return one.job.job_id

    assert cluster.ends_as(run(scene), within=30) == "CANCELLED"


def test_job_whose_time_is_over_is_cancelled(cluster, lines):
    async def scene():
        (one,) = await submitted("trap 'echo asked to end; exit 1' TERM; sleep 300 & wait", deadline=time.time() + 4)
        return await fired(one)

    event = run(scene)

    assert (event["ended"], event["facts"]["state"], event["facts"]["by"]) == ("deadline", "CANCELLED", "researcher")
