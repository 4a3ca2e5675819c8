"""Does a task offer itself, and only a task, when memory runs out?"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from windrose import task_memory

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


class TaskRunnerMarker:
    """Named like the component that Airflow passes in a task runner."""


class Job:
    """Named like the component that Airflow passes in a service."""


def scores_after(component):
    """Return the score in a fork after the hook ran there, and our own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        task_memory.on_starting(component)
        os.write(writer, Path("/proc/self/oom_score_adj").read_bytes())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        return int(lines.read()), int(Path("/proc/self/oom_score_adj").read_text())


@linux_only
def test_task_runner_goes_first_and_its_parent_does_not():
    before = int(Path("/proc/self/oom_score_adj").read_text())

    assert scores_after(TaskRunnerMarker()) == (1000, before)


@linux_only
def test_service_keeps_its_score():
    before = int(Path("/proc/self/oom_score_adj").read_text())

    assert scores_after(Job()) == (before, before)


@linux_only
def test_score_is_written_from_a_process_marked_non_dumpable(tmp_path):
    """As an ordinary user the file is root's then; root cannot see the difference, but the mark must come back."""
    program = (
        "import ctypes; from windrose import task_memory; libc = ctypes.CDLL(None); libc.prctl(4, 0, 0, 0, 0);"
        "task_memory.offer_this_process();"
        "print(libc.prctl(3, 0, 0, 0, 0)); libc.prctl(4, 1, 0, 0, 0);"
        "print(open('/proc/self/oom_score_adj').read().strip())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)

    assert done.stdout.split()[-2:] == ["0", "1000"], done.stderr


def test_unwritable_score_does_not_fail_the_task(tmp_path, caplog):
    task_memory.offer_this_process(tmp_path / "absent" / "oom_score_adj")

    assert "first to go" in caplog.text or not sys.platform.startswith("linux")


def test_other_systems_are_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")

    task_memory.offer_this_process(tmp_path / "oom_score_adj")

    assert not (tmp_path / "oom_score_adj").exists()


@linux_only
def test_dumpable_process_stays_dumpable(tmp_path):
    task_memory.offer_this_process(tmp_path / "oom_score_adj")

    assert (ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), (tmp_path / "oom_score_adj").read_text()) == (1, "1000")
