"""At most so many submits to a platform at once from one machine, and no slot is lost with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from plugins.windrose.slurm import locks

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from windrose.slurm.locks import submit_slot
with submit_slot("hpc", 1):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locks.tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"windrose-slots-{os.getuid()}"


def test_slots_bound_how_many_are_inside(folder: Path) -> None:
    inside, most, errors = [], [], []
    lock = threading.Lock()
    together = threading.Barrier(8)

    def submit() -> None:
        together.wait(10)
        try:
            with locks.submit_slot("hpc", 3, seconds=30):
                with lock:
                    inside.append(1)
                    most.append(len(inside))
                threading.Event().wait(0.05)
                with lock:
                    inside.pop()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (errors, len(most), max(most) <= 3) == ([], 8, True)
    assert (len(list(folder.iterdir())), oct(folder.stat().st_mode)[-3:]) == (3, "700")


def test_platforms_do_not_wait_for_each_other() -> None:
    with locks.submit_slot("hpc/a", 1), locks.submit_slot("hpc_a", 1), locks.submit_slot("hpc-a", 0) as number:
        assert number == 0


def test_waiting_is_told_and_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOLD_AFTER", 0.0)
    told: list[str] = []

    with (
        locks.submit_slot("hpc", 1),
        pytest.raises(locks.NoSlot, match="hpc: all 1 slots for submits were taken for 1 s; try again later"),
        locks.submit_slot("hpc", 1, tell=told.append, seconds=1),
    ):
        pass

    assert told == ["hpc: all 1 slots for submits are taken; waiting for one."]


def test_killed_process_gives_its_slot_back(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "plugins")}
    argv = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert locks.take("hpc", 1) is None
        holder.send_signal(signal.SIGKILL)

    with locks.submit_slot("hpc", 1, seconds=5) as number:
        assert number == 0


def test_folder_that_others_could_write_is_not_taken(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(PermissionError, match="is not a folder of this user alone; delete it"):
        locks.take("hpc", 1)
