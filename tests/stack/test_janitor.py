"""Old task logs go, fresh ones stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.engine_support import Stack, eventually

DAY = 24 * 3600


def write_log(stack: Stack, name: str, *, days_old: int) -> Path:
    """Write a log as a task would: owned by the one who runs the containers."""
    path = stack.folder / "logs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a line\n", encoding="utf-8")
    for place in (path, path.parent):
        changed = time.time() - days_old * DAY
        os.utime(place, (changed, changed))
        if os.geteuid() == 0:
            os.chown(place, 50000, 0)
    return path


def test_janitor_deletes_old_logs_and_keeps_fresh_ones(stack: Stack) -> None:
    old, fresh = write_log(stack, "old/1.log", days_old=60), write_log(stack, "fresh/1.log", days_old=1)

    done = stack.make("restart", "SERVICE=janitor")

    eventually(lambda: not old.exists(), within=20)
    assert (done.returncode, fresh.exists()) == (0, True)


def test_janitor_lives_with_a_file_it_may_not_delete(stack: Stack) -> None:
    foreign = stack.folder / "logs" / "foreign" / "1.log"
    foreign.parent.mkdir(mode=0o555)
    stack.exec("airflow-scheduler", "true")

    old = write_log(stack, "old/2.log", days_old=60)
    foreign.write_text("", encoding="utf-8")
    os.utime(foreign, (0, 0))
    done = stack.make("restart", "SERVICE=janitor")

    eventually(lambda: not old.exists(), within=20)
    assert (done.returncode, stack.containers("janitor")[0]["RestartCount"]) == (0, 0)
    foreign.parent.chmod(0o755)
    foreign.unlink()


def make_older(stack: Stack, run: str) -> None:
    """Let a run have begun 200 days ago."""
    for table in ("dag_run", "task_instance"):
        sql = f"UPDATE {table} SET start_date = now() - interval '200 days' WHERE run_id = '{run.split('/')[-1]}'"
        stack.exec("postgres", "psql", "--username=airflow", "--quiet", "--command", sql)


def test_old_runs_leave_the_database_and_the_report_tells_it(stack: Stack) -> None:
    ended, under_way = stack.trigger("own-looking"), stack.trigger("own-sleeping", seconds=300)
    assert stack.result(ended) == "success"
    eventually(lambda: stack.tasks(under_way)["sleep"]["state"] == "running", within=30)
    for run in (ended, under_way):
        make_older(stack, run)

    said = stack.exec("janitor", "python", "-I", "/opt/windrose/database_care.py", "clean").stdout
    report = stack.trigger("maintenance-report")
    assert stack.result(report) == "success"
    page = stack.returned(report, "report")

    left = [run["dag_run_id"] for run in stack.api("GET", "dags/own-looking/dagRuns?limit=100")["dag_runs"]]
    assert ended.split("/")[-1] not in left
    assert (stack.state(under_way), "kept own-sleeping, which have an old run under way" in said) == ("running", True)
    assert "1 of dag_run" in said and "1 of dag_run" in page
    assert "1 run under way for more than a day" in page
    stack.api("PATCH", under_way, {"state": "failed"})
