"""The DAGs for batch jobs on the demo cluster: all at once from the API, and a job that nobody could cancel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_support import Stack, eventually

DAGS = {
    "hpc-run-one-job": "run_job",
    "hpc-array-sweep": "measure",
    "hpc-staged-pipeline": "count_words",
    "hpc-container-job": "run_in_container",
}
LONG = "#!/bin/bash\nsleep 600\n"


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The stack with the demo cluster beside it."""
    done = stack.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: set(DAGS) <= set(stack.dag_ids()), within=60)
    yield stack
    stack.make("demo", "DOWN=yes")


@pytest.fixture(scope="module")
def runs(demo: Stack) -> dict[str, str]:
    """A run of each DAG with its form as it is, all at the same time, ended."""
    started = {name: demo.trigger(name) for name in DAGS}
    assert {name: demo.result(path) for name, path in started.items()} == dict.fromkeys(DAGS, "success")
    return started


def squeue(stack: Stack, job_id: str) -> str:
    """Return the state of a job in accounting."""
    words = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job_id}", "--format=State"]
    return stack.exec("slurm-demo", *words).stdout.strip()


def test_jobs_that_log_in_are_in_the_pool_of_the_forms_platform(demo: Stack, runs: dict[str, str]) -> None:
    pools = {name: demo.tasks(path)[DAGS[name]]["pool"] for name, path in runs.items()}

    assert pools == dict.fromkeys(DAGS, "hpc-demo")
    assert demo.tasks(runs["hpc-array-sweep"])["gather"]["pool"] == "default_pool"


def test_results_are_there_and_logs_show_what_the_jobs_said(demo: Stack, runs: dict[str, str]) -> None:
    jobs = {name: demo.returned(path, DAGS[name]) for name, path in runs.items()}
    rows = demo.returned(runs["hpc-staged-pipeline"], "check")

    assert {job["state"] for job in jobs.values()} == {"COMPLETED"}
    assert jobs["hpc-run-one-job"]["result"] == {"steps": 3}
    assert "step 2" in demo.log(runs["hpc-run-one-job"], "run_job")
    assert len(demo.returned(runs["hpc-array-sweep"], "gather")) == 5
    assert [Path(row["file"]).name for row in rows] == [*(f"{n}.txt.counts" for n in (1, 2, 3)), "checksums.txt"]
    assert (demo.folder / rows[0]["file"]).is_file()
    assert "the demo cluster has no Apptainer" in demo.log(runs["hpc-container-job"], "run_in_container")


def test_job_that_nobody_could_cancel_is_found_by_the_check(demo: Stack) -> None:
    path = demo.trigger("hpc-run-one-job", script=LONG)
    eventually(lambda: demo.tasks(path)["run_job"]["state"] == "deferred", within=60)
    held = demo.api("GET", f"{path}/taskInstances/run_job/xcomEntries/slurm_job")["value"]
    job_id = held["job_id"] if isinstance(held, dict) else held.partition("'job_id': '")[2].partition("'")[0]
    eventually(lambda: squeue(demo, job_id) == "RUNNING", within=30)
    demo.compose("stop", "--timeout=5", "airflow-triggerer")
    demo.api("PATCH", f"{path}/taskInstances/run_job", {"new_state": "failed"})

    check = demo.trigger("platform-check", platform="hpc-demo", orphan_minutes=0.02)
    result = demo.result(check)
    demo.compose("start", "airflow-triggerer")

    rows = demo.returned(check, "table")
    assert (result, [row["state"] for row in rows]) == ("success", ["ok", "cancelled"])
    assert f"job {job_id} (RUNNING) of hpc-run-one-job.run_job" in rows[1]["says"]
    assert "its task has ended (failed); cancelled." in rows[1]["says"]
    eventually(lambda: squeue(demo, job_id).startswith("CANCELLED"), within=30)
