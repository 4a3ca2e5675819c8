"""Which jobs of the queue does no task wait for? And what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from plugins.windrose.slurm import orphans

MINE = "0123456789abcdef"
TOKEN, OTHER = "a" * 20, "b" * 20


class Airflow:
    """What Airflow knows of one task: its state, and the job that it has."""

    def __init__(self, states: dict[str, Any], token: str | None = TOKEN, job_id: str = "7") -> None:
        self.states, self.held = states, None if token is None else {"token": token, "job_id": job_id}
        self.asked: list[tuple[str, Sequence[str]]] = []

    def get_task_states(self, dag_id: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        self.asked.append((dag_id, run_ids))
        assert task_ids == ["work"]
        return {run: states for run, states in self.states.items() if run in run_ids}

    def xcom_pull(self, task_ids: str, dag_id: str, key: str, *, map_indexes: int, run_id: str) -> Any:
        assert (task_ids, key) == ("work", "slurm_job")
        return self.held


class Cluster:
    """A cluster with a queue, which changes between two looks."""

    def __init__(self, *queues: list[orphans.Queued], stubborn: bool = False) -> None:
        self.queues, self.stubborn = list(queues), stubborn
        self.cancelled: list[tuple[str, str]] = []
        self.open = 0

    def __call__(self) -> Cluster:
        self.open += 1
        return self

    async def queued(self) -> list[orphans.Queued]:
        return self.queues.pop(0) if len(self.queues) > 1 else self.queues[0]

    async def cancel(self, token: str, job_id: str = "") -> str:
        if self.stubborn:
            raise orphans.ClusterError("hpc: there is no answer.")
        self.cancelled.append((token, job_id))
        return job_id

    async def close(self) -> None:
        self.open -= 1


def job(token: str = TOKEN, *, state: str = "RUNNING", number: str = "7", **origin: Any) -> orphans.Queued:
    task = {"installation": MINE, "dag_id": "d", "run_id": "r", "task_id": "work", "map_index": -1}
    return orphans.Queued(token, number, state, {**task, **origin})


@pytest.mark.parametrize(
    ("states", "token", "why"),
    [
        pytest.param({"r": {"work": "deferred"}}, TOKEN, "", id="its task waits for it"),
        pytest.param({"r": {"work": "up_for_retry"}}, TOKEN, "", id="its next try will wait for it"),
        pytest.param({"r": {"work": None}}, TOKEN, "", id="its task was cleared and has not begun"),
        pytest.param({"r": {"work": "running"}}, None, "", id="its task is between two tries"),
        pytest.param({"r": {"work": "success"}}, TOKEN, "its task has ended (success)", id="marked success"),
        pytest.param({"r": {"work": "failed"}}, None, "its task has ended (failed)", id="failed"),
        pytest.param({"r": {"work": "removed"}}, TOKEN, "its task has ended (removed)", id="removed"),
        pytest.param({"r": {"work": "deferred"}}, OTHER, "its task has another job (7)", id="cleared"),
        pytest.param({"r": {"other": "deferred"}}, TOKEN, "its task is gone", id="task is gone"),
        pytest.param({}, TOKEN, "its task is gone", id="run is gone"),
    ],
)
def test_job_is_an_orphan_where_no_task_waits_for_it(states: dict[str, Any], token: str | None, why: str) -> None:
    found = orphans.find([job()], MINE, Airflow(states, token), youngest=300)

    assert [orphan.why for orphan in found] == ([why] if why else [])


@pytest.mark.parametrize(
    ("held", "mine"),
    [
        pytest.param(job(installation="another"), MINE, id="another installation's"),
        pytest.param(job(installation=""), "", id="nobody's, here without a word"),
        pytest.param(job(installation=None), MINE, id="without a word"),
        pytest.param(job(run_id=None), MINE, id="without a run"),
        pytest.param(job(task_id=["work"]), MINE, id="with an odd origin"),
        pytest.param(orphans.Queued(TOKEN, "7", "RUNNING", {}), MINE, id="without an origin"),
        pytest.param(job(state="COMPLETING"), MINE, id="leaving the queue"),
        pytest.param(job(state="cancelled"), MINE, id="cancelled already"),
    ],
)
def test_job_that_is_not_ours_to_judge_is_left_alone(held: orphans.Queued, mine: str) -> None:
    assert orphans.find([held], mine, Airflow({}), youngest=300) == []


@pytest.mark.parametrize(("seconds", "is_orphan"), [(20, False), (299, False), (300, True), (-1, True)])
def test_young_job_is_left_alone(seconds: int, is_orphan: bool) -> None:
    held = orphans.Queued(TOKEN, "7", "RUNNING", job().origin, seconds)

    assert bool(orphans.find([held], MINE, Airflow({}), youngest=300)) == is_orphan


def test_mapped_tasks_are_told_apart() -> None:
    airflow = Airflow({"r": {"work_0": "success", "work_1": "deferred"}})
    jobs = [job(map_index=0), job("b" * 20, map_index=2), job("c" * 20, map_index=1)]

    found = orphans.find(jobs, MINE, Airflow(airflow.states, "c" * 20), youngest=300)

    assert {str(orphan.task): orphan.why for orphan in found} == {
        "d.work[0], run r": "its task has ended (success)",
        "d.work[2], run r": "its task is gone",
    }


def test_many_runs_are_asked_for_together() -> None:
    airflow = Airflow({f"r{number}": {"work": "success"} for number in range(100)})
    jobs = [job(f"{number:020}", run_id=f"r{number}") for number in range(100)]

    found = orphans.find(jobs, MINE, airflow, youngest=300)

    assert (len(found), [len(runs) for _, runs in airflow.asked]) == (100, [40, 40, 20])


def sweep(cluster: Cluster, airflow: Airflow, *, cancel: bool = True) -> list[dict[str, Any]]:
    return orphans.sweep(cluster, MINE, airflow, youngest=0, cancel=cancel, tell=print)


def test_orphan_is_cancelled_and_told() -> None:
    cluster = Cluster([job(), job(OTHER, run_id="other")])

    rows = sweep(cluster, Airflow({"r": {"work": "failed"}, "other": {"work": "queued"}}, OTHER))

    assert (cluster.cancelled, cluster.open) == ([(TOKEN, "7")], 0)
    says = "job 7 (RUNNING) of d.work, run r: its task has ended (failed); cancelled."
    assert rows == [{"job": "7", "state": "cancelled", "says": says}]


def test_orphan_is_only_reported_where_that_is_asked_for() -> None:
    cluster = Cluster([job()])

    rows = sweep(cluster, Airflow({}), cancel=False)

    assert cluster.cancelled == []
    says = "job 7 (RUNNING) of d.work, run r: its task is gone; left, as the form says."
    assert rows == [{"job": "7", "state": "left", "says": says}]


def test_job_that_was_gone_a_minute_later_is_no_orphan() -> None:
    cluster = Cluster([job()], [job(OTHER, run_id="new")])

    assert (sweep(cluster, Airflow({})), cluster.cancelled, cluster.open) == ([], [], 0)


def test_orphan_that_cannot_be_cancelled_needs_somebody() -> None:
    rows = sweep(Cluster([job()], stubborn=True), Airflow({}))

    says = "job 7 (RUNNING) of d.work, run r: its task is gone; not cancelled (hpc: there is no answer)."
    assert rows == [{"job": "7", "state": "failed", "says": says}]
