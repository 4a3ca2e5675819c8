"""What a Slurm trigger writes, when it fires, and what it does when its task is killed or its time is over.

The cluster is a fake one (tests/slurm_fake.py); tests/hpc/test_slurm_trigger.py has a real one.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import asdict
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.ssh")

from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import TriggerEvent
from windrose.slurm import course, following, watcher
from windrose.slurm.model import ClusterError, Facts, Record
from windrose.triggers.slurm import SlurmTrigger

from tests.slurm_fake import FakeCluster, FakeJob
from tests.slurm_trigger_support import (
    FOLDER,
    RUNNING,
    TOKEN,
    Lines,
    event_of,
    fired,
    lines_of_triggers,
    run,
    trigger,
    until,
    watched,
)


@pytest.fixture
def cluster(monkeypatch) -> FakeCluster:
    return watched(monkeypatch)


@pytest.fixture
def lines(monkeypatch) -> Lines:
    return lines_of_triggers(monkeypatch)


def test_trigger_made_again_from_what_is_stored_is_the_same():
    one = trigger(array=True, deadline=1e9, log_mb=3, name="wr.a.b")

    path, stored = one.serialize()
    again = SlurmTrigger(**json.loads(json.dumps(stored)))

    assert path == f"{SlurmTrigger.__module__}.{SlurmTrigger.__qualname__}"
    assert again.serialize() == one.serialize()
    assert len(json.dumps(stored)) < 500


def test_event_tells_the_end_as_slurm_has_it_and_lines_stand_in_the_log(cluster, lines):
    async def then():
        job = cluster.jobs[TOKEN]
        job.out = b"one\ntwo"
        await until(lambda: "out| one" in lines.lines)
        job.out += b" and a half\n"
        job.err = b"oh\n"
        job.ends("FAILED", 3, nodes="demo-1", memory=1024, cpu_seconds=0.5)

    event = event_of(trigger(), then)

    assert event == {
        "token": TOKEN,
        "job_id": "77",
        "folder": FOLDER,
        "facts": asdict(Facts("FAILED", code=3, nodes="demo-1", cpu_seconds=0.5, memory=1024, source="accounting")),
        "record": None,
        "ended": "slurm",
        "tail": {"out": ["one", "two and a half"], "err": ["oh"]},
        "log_bytes": 22,
    }
    assert json.loads(json.dumps(event)) == event
    assert repr(TriggerEvent(event)) == "TriggerEvent<job 77: slurm>"
    assert [line for line in lines.lines if "| " in line] == ["out| one", "out| two and a half", "err| oh"]
    assert cluster.acting == 0


def test_record_decides_where_slurm_knows_nothing(cluster, lines):
    async def then():
        cluster.jobs[TOKEN].facts, cluster.jobs[TOKEN].record = None, Record(0)

    event = event_of(trigger(), then)

    assert (event["facts"], event["record"], event["ended"]) == (
        None,
        {"code": 0, "elements": 1, "failed": 0},
        "record",
    )


def test_nothing_is_fired_while_nobody_knows_and_that_is_told_rarely(cluster, lines, monkeypatch):
    monkeypatch.setattr(course, "DOUBT", 0.05)

    async def then():
        cluster.jobs[TOKEN].facts = None
        looks = cluster.looks
        await until(lambda: cluster.looks > looks + 30)
        cluster.jobs[TOKEN].ends("COMPLETED")

    event = event_of(trigger(), then)

    assert event["facts"]["state"] == "COMPLETED"
    assert len([line for line in lines.lines if "until that is certain" in line]) == 1


def test_nothing_is_fired_while_the_cluster_is_away(cluster, lines):
    async def then():
        await until(lambda: cluster.looks)
        cluster.problem = ClusterError("hpc-demo: the connection broke.")
        before = cluster.opened
        await until(lambda: cluster.opened >= before + 3)
        cluster.jobs[TOKEN].ends("COMPLETED")
        cluster.problem = None

    assert event_of(trigger(), then)["ended"] == "slurm"
    assert [line for line in lines.lines if "hpc-demo" in line] == [
        "hpc-demo cannot be asked now: the connection broke. The job goes on meanwhile; asking again.",
        "hpc-demo answers again",
    ]


def test_changes_are_told_once_and_reasons_with_them(cluster, lines):
    async def then():
        job = cluster.jobs[TOKEN]
        for facts in (Facts(state="PENDING", reason="Priority", source="queue"), RUNNING):
            job.facts = facts
            looks = cluster.looks
            await until(lambda looks=looks: cluster.looks > looks + 5)
        job.ends("COMPLETED")

    event_of(trigger(), then)

    words = [re.search(r"PENDING|RUNNING|COMPLETED", line)[0] for line in lines.lines]
    assert words == ["PENDING", "RUNNING", "COMPLETED"]
    assert "Priority" in lines.lines[0]


def test_array_is_told_by_how_many_are_where(cluster, lines, monkeypatch):
    monkeypatch.setattr(course, "SETTLE", 0)

    async def then():
        job = cluster.jobs[TOKEN]
        job.facts = Facts(state="RUNNING", source="queue", elements={"RUNNING": 2, "PENDING": 8})
        await until(lambda: lines.lines)
        job.facts = Facts(state="FAILED", code=1, source="accounting", elements={"COMPLETED": 9, "FAILED": 1})

    event = event_of(trigger(array=True), then)

    assert ["8 PENDING, 2 RUNNING" in lines.lines[0], "9 COMPLETED, 1 FAILED" in lines.lines[-1]] == [True, True]
    assert (event["facts"]["elements"], cluster.acting) == ({"COMPLETED": 9, "FAILED": 1}, 0)


def test_log_that_is_full_says_where_the_file_is_and_shows_the_end(cluster, lines):
    async def then():
        cluster.jobs[TOKEN].out = b"".join(b"line %d\n" % number for number in range(10_000))
        cluster.lines = (["line 9998", "line 9999"], [])
        await until(lambda: lines.have("the log is full"))
        looks = cluster.looks
        await until(lambda: cluster.looks > looks + 3)
        cluster.jobs[TOKEN].ends("COMPLETED")

    event = event_of(trigger(log_mb=0.05), then)

    shown = [line for line in lines.lines if line.startswith("out| ")]
    notes = [line for line in lines.lines if "the log is full" in line]
    assert notes == [
        f"the log is full at 0.05 MB; the whole output is in {FOLDER} on hpc-demo, and its last lines follow at the end"
    ]
    assert (shown[0], shown[-2:], len(shown) < 200) == ("out| line 0", ["out| line 9998", "out| line 9999"], True)
    assert event["tail"] == {"out": ["line 9998", "line 9999"], "err": []}
    assert {one.out for one in cluster.asked[-1]} == {-1}


def test_full_log_whose_end_cannot_be_had_tells_no_other_lines_for_it(cluster, lines, monkeypatch):
    monkeypatch.setattr(following, "TAIL_LIMIT", 1.0)

    async def then():
        cluster.jobs[TOKEN].out = b"line\n" * 1000
        await until(lambda: lines.have("the log is full"))
        cluster.problem_of_acts = ClusterError("nobody answers")
        cluster.jobs[TOKEN].ends("COMPLETED")

    event = event_of(trigger(log_mb=0.01), then)

    assert (event["tail"], event["ended"]) == ({"out": [], "err": []}, "slurm")
    assert lines.have("could not be fetched: nobody answers")


def test_trigger_that_begins_again_after_a_restart_does_not_repeat_the_log(cluster, lines):
    async def then():
        cluster.jobs[TOKEN].out = b"".join(b"line %d\n" % number for number in range(10_000))
        await until(lambda: any(line == "out| line 9999" for line in lines.lines))
        cluster.jobs[TOKEN].out += b"the end\n"
        cluster.lines = (["tail"], ["of errors"])
        cluster.jobs[TOKEN].ends("FAILED", 1)

    event = event_of(trigger(since=time.time() - 3600), then)

    assert len([line for line in lines.lines if line.startswith("out| ")]) < 120
    assert FOLDER in lines.lines[0]
    assert event["tail"] == {"out": ["tail"], "err": ["of errors"]}


def test_job_whose_time_is_over_is_cancelled_and_its_end_waited_for(cluster, lines):
    async def then():
        cluster.on_cancel = lambda token: None
        await until(lambda: cluster.cancelled)
        looks = cluster.looks
        await until(lambda: cluster.looks > looks + 3)
        cluster.jobs[TOKEN].ends("CANCELLED", by="researcher")

    event = event_of(trigger(deadline=time.time() + 0.1), then)

    assert (event["ended"], event["facts"]["state"], cluster.cancelled) == ("deadline", "CANCELLED", [TOKEN])


def test_job_that_ended_well_at_its_deadline_has_ended_well(cluster, lines):
    async def then():
        cluster.on_cancel = lambda token: cluster.jobs[token].ends("COMPLETED")

    assert event_of(trigger(deadline=time.time() - 1), then)["ended"] == "slurm"


@pytest.mark.parametrize("problem", [None, ClusterError("nobody answers")], ids=["does not end", "cannot be cancelled"])
def test_job_that_does_not_end_after_its_deadline_is_given_up(cluster, lines, monkeypatch, problem):
    monkeypatch.setattr(following, "END_LIMIT", 0.1)
    monkeypatch.setattr(following, "CANCEL_LIMIT", 0.1)
    cluster.on_cancel = lambda token: None

    async def then():
        await until(lambda: cluster.looks)
        cluster.problem = problem

    event = event_of(trigger(deadline=time.time() + 0.1), then)

    assert (event["ended"], event["facts"]["state"]) == ("deadline", "RUNNING")


def test_mistake_with_one_job_is_told_once_and_does_not_touch_another(cluster, lines, monkeypatch):
    judge = course.judge

    def wrong(seen, history, now):
        if seen.facts.nodes == "evil" and seen.facts.state == "RUNNING":
            raise ValueError("a mistake")
        return judge(seen, history, now)

    monkeypatch.setattr(course, "judge", wrong)
    other = "b" * 20
    cluster.jobs |= {TOKEN: FakeJob(Facts(state="RUNNING", nodes="evil", source="queue")), other: FakeJob(RUNNING)}

    async def scene():
        tasks = [asyncio.create_task(fired(one)) for one in (trigger(), trigger(token=other))]
        await until(lambda: cluster.looks > 20)
        cluster.jobs[other].ends("COMPLETED")
        await tasks[1]
        cluster.jobs[TOKEN].ends("FAILED", 1)
        return [(await task)["facts"]["state"] for task in tasks]

    assert run(scene) == ["FAILED", "COMPLETED"]
    assert len([line for line in lines.lines if "a mistake of windrose" in line]) == 1


def test_trigger_goes_on_with_another_watcher_where_its_own_ended(cluster, lines, monkeypatch):
    monkeypatch.setattr(following, "AGAIN", 0.01)

    async def then():
        await until(lambda: cluster.looks)
        watcher.watchers["hpc-demo"].task.cancel()
        await until(lambda: lines.have("nobody watches"))
        cluster.jobs[TOKEN].ends("COMPLETED")

    assert event_of(trigger(), then)["ended"] == "slurm"


def test_trigger_that_is_stopped_leaves_the_watcher_and_cancels_nothing(cluster, lines):
    async def scene():
        task = asyncio.create_task(fired(trigger()))
        await until(lambda: cluster.looks)
        found = watcher.watchers["hpc-demo"]
        task.cancel()
        await asyncio.wait({task})
        await found.task
        return found.jobs, cluster.cancelled, cluster.closed

    assert run(scene) == ([], [], 1)


def test_connection_that_is_gone_is_waited_for(monkeypatch, lines):
    hooks = SimpleNamespace(SlurmHook=lambda platform: refused(platform))
    monkeypatch.setitem(__import__("sys").modules, "windrose.hooks.slurm", hooks)

    def refused(platform):
        raise AirflowFailException(f"there is no platform {platform}; see secrets.yaml and `make connections`.")

    async def scene():
        task = asyncio.create_task(fired(trigger(platform="hpc-gone")))
        await until(lambda: lines.lines)
        task.cancel()
        await asyncio.wait({task})

    run(scene)

    assert lines.lines == [
        "hpc-gone does not let us in: there is no platform hpc-gone; see secrets.yaml and `make connections`. "
        "The job goes on meanwhile; asked again once that is mended."
    ]
