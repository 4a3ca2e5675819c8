"""`make down` ends all of it and only that; `make clean` leaves nothing."""

from __future__ import annotations

import subprocess
import sys

from tests.embedded.conftest import Embedded
from tests.processes import is_alive


def test_down_ends_every_process_and_no_other(stack: Embedded) -> None:
    before = stack.pids()
    # A stranger that looks like ours: the same program, of another clone.
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "scripts.embedded_supervisor"])

    done = stack.make("down")

    try:
        assert (done.returncode, done.stdout) == (0, "stopped; nothing is lost, `make up` brings it back\n")
        assert not any(map(is_alive, before.values()))
        assert stack.processes() == []
        assert is_alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_commands_say_that_nothing_runs(stack: Embedded) -> None:
    assert stack.command("status").stdout == "nothing is running; `make up` starts everything\n"
    assert "stack: is not running; run `make up`." in stack.make("shell").stderr
    assert stack.make("down").returncode == 0


def test_clean_leaves_neither_database_nor_secrets_nor_airflow(stack: Embedded) -> None:
    asked = stack.command("clean")

    done = stack.make("clean", "CONFIRM=yes")

    assert asked.returncode == 2 and "the Airflow that was installed into .venv-airflow" in asked.stdout
    assert done.returncode == 0, done.stderr
    left = [
        name for name in ("secrets", "logs", ".venv-airflow", ".windrose/embedded") if (stack.folder / name).exists()
    ]
    assert left == []
    assert (stack.folder / "data").exists()
