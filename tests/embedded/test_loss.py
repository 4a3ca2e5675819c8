"""Whatever is killed comes back by itself, and every run reaches an end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.embedded.conftest import Embedded
from tests.engine_support import eventually
from tests.processes import is_alive


def children(pid: int) -> set[int]:
    """Return the processes that a process has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.add(int(path.parent.name))
    return found


def begin_sleeping(stack: Embedded) -> str:
    """Start the DAG that sleeps, and wait until its task is at it."""
    marks = stack.folder / "data" / "begun"
    before = len(list(marks.iterdir()))
    run_path = stack.trigger("own-sleeping")
    eventually(lambda: len(list(marks.iterdir())) > before, within=60, pause=0.2)
    return run_path


def test_killed_scheduler_takes_its_tasks_along_and_they_run_again(stack: Embedded) -> None:
    eventually(lambda: "own-sleeping" in stack.dag_ids(), within=30)
    run_path = begin_sleeping(stack)
    workers = children(stack.pids()["airflow-scheduler"])

    stack.kill("airflow-scheduler")

    assert workers and not any(map(is_alive, workers))
    assert stack.result(run_path, within=60) == "success"


def test_killed_watcher_is_replaced_and_nothing_else_notices(stack: Embedded) -> None:
    pids = stack.pids()
    watcher = children(pids["supervisor"]) - set(pids.values())
    assert len(watcher) == 1

    os.kill(old := watcher.pop(), signal.SIGKILL)

    # The dead one is a child until somebody has put it away.
    others = {*pids.values(), old}
    eventually(lambda: any(map(is_alive, children(pids["supervisor"]) - others)), within=10, pause=0.1)
    assert stack.pids() == pids


def test_killed_supervisor_comes_back_with_everything(stack: Embedded) -> None:
    before = stack.pids()

    stack.kill("supervisor")

    assert not any(map(is_alive, before.values()))
    assert stack.command("status").returncode == 0


def test_everything_killed_but_the_watcher_comes_back_and_the_run_ends(stack: Embedded) -> None:
    run_path = begin_sleeping(stack)

    stack.kill(*stack.pids())

    assert stack.result(run_path, within=60) == "success"
