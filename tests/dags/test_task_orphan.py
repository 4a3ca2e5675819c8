"""Does a task end with its supervisor, and a service not?"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from windrose import task_orphan

from tests.processes import is_alive

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of a parent's death")


class TaskRunnerMarker:
    """Named like the component that Airflow passes in a task runner."""


class Job:
    """Named like the component that Airflow passes in a service."""


def grandchild_after_its_parent_is_killed(component: object, *, within: float) -> tuple[int, bool]:
    """Fork a supervisor that forks a runner, kill the supervisor; return the runner and whether it still runs."""
    reader, writer = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        runner = os.fork()
        if runner == 0:
            task_orphan.on_starting(component)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
        os._exit(0)
    pid = int(os.read(reader, 32))
    os.kill(supervisor, signal.SIGKILL)
    os.waitpid(supervisor, 0)
    end = time.monotonic() + within
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return pid, is_alive(pid)


def test_task_runner_ends_with_its_supervisor() -> None:
    _, survived = grandchild_after_its_parent_is_killed(TaskRunnerMarker(), within=20)

    assert not survived


def test_other_processes_outlive_their_parent() -> None:
    pid, survived = grandchild_after_its_parent_is_killed(Job(), within=1)
    os.kill(pid, signal.SIGKILL)

    assert survived
