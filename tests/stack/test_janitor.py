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
