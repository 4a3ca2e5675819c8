"""What a Slurm trigger does when somebody ends its task, and when only its triggerer ends.

The cluster is a fake one (tests/slurm_fake.py); what runs and ends the triggers is Airflow's own.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.ssh")

from airflow.jobs import triggerer_job_runner
from airflow.sdk.execution_time import task_runner
from windrose.slurm.model import ClusterError
from windrose.triggers import slurm as trigger_module
from windrose.triggers.slurm import JobTrigger
from windrose.triggers.slurm_wait import SlurmWaitTrigger

from tests.slurm_fake import FakeCluster
from tests.slurm_trigger_support import TOKEN, Lines, lines_of_triggers, run, trigger, until, watched


@pytest.fixture
def cluster(monkeypatch) -> FakeCluster:
    return watched(monkeypatch)


@pytest.fixture
def lines(monkeypatch) -> Lines:
    return lines_of_triggers(monkeypatch)


@pytest.fixture
def task_states(monkeypatch) -> dict[str, str]:
    """What Airflow says of the task's state."""
    found = {"job": "failed"}

    def get_task_states(dag_id, task_ids, run_ids, map_index):
        assert (dag_id, task_ids, run_ids, map_index) == ("dag", ["job"], ["run"], -1)
        return {"run": found}

    monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", get_task_states)
    return found


async def killed(one: JobTrigger, *, again: int) -> None:
    """Let Airflow's own runner run a trigger, and end it as after a person's click: it sends its cancel each second."""
    runner = triggerer_job_runner.TriggerRunner()
    known = {"id": "x", "dag_id": "dag", "task_id": "job", "run_id": "run", "map_index": -1, "try_number": 1}
    one.task_instance = SimpleNamespace(**known, context_carrier=None)
    task = asyncio.create_task(runner.run_trigger(1, one))
    runner.triggers[1] = {"task": task, "is_watcher": False, "name": "a trigger", "events": 0}
    await asyncio.sleep(0.2)
    for _ in range(again):
        runner.to_cancel.append(1)
        await runner.cancel_triggers()
        await asyncio.sleep(0.1)
    await asyncio.wait({task})


def test_killed_task_cancels_its_job_though_airflow_cancels_the_cancelling(cluster, lines, task_states):
    async def scene():
        cluster.seconds = 0.5
        await killed(trigger(), again=4)
        await until(lambda: "job 77 is cancelled" in lines.lines)

    run(scene)

    assert cluster.cancelled == [TOKEN]
    assert lines.lines[-2:] == ["cancelling job 77 on hpc-demo", "job 77 is cancelled"]


def test_killed_task_cancels_its_job_when_the_cluster_answers_again(cluster, lines, task_states, monkeypatch):
    monkeypatch.setattr(trigger_module, "KILL_WAIT", 0.1)

    async def scene():
        one = trigger()
        await killed_meanwhile(one)
        assert cluster.cancelled == []
        cluster.problem = None
        await until(lambda: cluster.cancelled)

    async def killed_meanwhile(one):
        cluster.problem = ClusterError("nobody answers")
        await killed(one, again=1)

    run(scene)

    assert "job 77 is not cancelled yet; still trying" in lines.lines


def test_trigger_that_passes_to_another_triggerer_cancels_nothing(cluster, lines, task_states):
    task_states["job"] = "deferred"

    run(lambda: killed(trigger(), again=1))

    assert cluster.cancelled == []
    assert "another triggerer follows job 77 from now on" in lines.lines


def test_killed_task_that_waits_for_its_cluster_cancels_the_job_that_there_may_be(cluster, lines, task_states):
    async def scene():
        cluster.seconds = 0.5
        await killed(SlurmWaitTrigger("hpc-demo", TOKEN, 60.0), again=4)
        await until(lambda: cluster.cancelled)

    run(scene)

    assert cluster.cancelled == [TOKEN]


def test_wait_that_passes_to_another_triggerer_cancels_nothing(cluster, lines, task_states):
    task_states["job"] = "deferred"

    run(lambda: killed(SlurmWaitTrigger("hpc-demo", TOKEN, 60.0), again=1))

    assert cluster.cancelled == []
