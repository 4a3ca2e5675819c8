"""Slurm jobs from the web page to accounting: green, failed, killed, cleared, and with all between them killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.engine_support import Stack, eventually
from tests.slurm_chaos import ENDED, ONE, Jobs, accounted, add_dags

CANCELLED_WITHIN = 30


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The stack with the demo beside it, and DAGs that submit jobs."""
    done = stack.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    add_dags(stack)
    yield stack
    (stack.folder / "dags" / "own" / "slurm_dag.py").unlink()
    done = stack.make("demo", "DOWN=yes")
    assert done.returncode == 0, done.stdout + done.stderr


def start_one(stack: Stack, command: str) -> tuple[str, str]:
    """Start a run with a job that goes on; return its path, and the id of its job once the task is deferred."""
    path = stack.trigger(ONE, command=command)
    eventually(lambda: stack.tasks(path)["job"]["state"] == "deferred", within=60)
    return path, job_of(stack, path)


def job_of(stack: Stack, path: str) -> str:
    """Return the id of a task's present job."""
    value = stack.api("GET", f"{path}/taskInstances/job/xcomEntries/slurm_job?deserialize=true")["value"]
    return str(value["job_id"])


def test_jobs_end_as_their_tasks_do_with_their_lines_in_the_log(demo: Stack) -> None:
    good = demo.trigger(ONE, command="""echo first line; echo '{"made": 3}'""")
    bad = demo.trigger(ONE, command="echo wrong turn >&2; exit 4")

    assert (demo.result(good), demo.result(bad)) == ("success", "failed")
    facts = demo.returned(good, "job")
    assert (facts["state"], facts["exit_code"], facts["result"]) == ("COMPLETED", 0, {"made": 3})
    assert "first line" in demo.log(good, "job")
    log = demo.log(bad, "job")
    assert "failed with exit code 4" in log
    assert log.rindex("wrong turn") > log.index("The last lines of its errors:")
    # A job that failed is not run again by itself.
    assert demo.tasks(bad)["job"]["try_number"] == 1


def test_kill_and_clear_of_deferred_tasks_cancel_their_jobs(demo: Stack) -> None:
    (failed, first), (done, second), (again, third) = (start_one(demo, "sleep 600") for _ in range(3))

    demo.api("PATCH", f"{failed}/taskInstances/job", {"new_state": "failed"})
    demo.api("PATCH", f"{done}/taskInstances/job", {"new_state": "success"})
    run_id = again.rpartition("/")[2]
    demo.api(
        "POST",
        f"dags/{ONE}/clearTaskInstances",
        {"dry_run": False, "dag_run_id": run_id, "task_ids": ["job"], "only_failed": False, "reset_dag_runs": True},
    )

    old = {first, second, third}

    def states() -> set[str | None]:
        found = accounted(demo, f".{ONE}-job.")  # which may not know the latest job yet
        return {found.get(job) for job in old}

    eventually(lambda: states() == {"CANCELLED"}, within=CANCELLED_WITHIN)
    eventually(lambda: demo.tasks(again)["job"]["state"] == "deferred", within=60)
    assert job_of(demo, again) not in old
    demo.api("PATCH", f"{again}/taskInstances/job", {"new_state": "failed"})


def test_kills_of_everything_leave_one_job_a_task_and_its_true_result(demo: Stack) -> None:
    jobs = Jobs(demo, [0, 0, 3, 0, 0, 5], seconds=45)
    jobs.start()

    jobs.strike_the_submits(cuts=1)
    jobs.wait_for("deferred", *ENDED, within=150)
    jobs.strike_the_rest(pause=0)
    jobs.wait_for(*ENDED, within=150)

    assert len(jobs.jobs()) == len(jobs.codes)
    assert jobs.truth() == jobs.expected()
    assert Counter(jobs.jobs().values()) == {"COMPLETED": 4, "FAILED": 2}
    eventually(lambda: demo.make("status").returncode == 0, within=120, pause=2)
