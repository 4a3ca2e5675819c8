"""What unit tests of several modules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api_support import LOGIN, SmallAirflow, small_airflow

ARGUMENTS = ("DAG", "CONF", "WAIT", "UNPAUSE", "RUN", "TASK", "LINES", "DOWN")
Said = tuple[int, list[str], list[str]]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallAirflow]:
    """The Airflow of this clone, as the commands find it."""
    from scripts import airflow_task_log, airflow_watch, generated_secrets

    with small_airflow() as airflow:
        monkeypatch.setenv("RUNTIME", "compose")
        monkeypatch.setenv("AIRFLOW_PORT", airflow.address.rpartition(":")[2])
        monkeypatch.setenv("ADMIN_USER", LOGIN[0])
        monkeypatch.setenv("TZ", "UTC")
        (tmp_path / "admin_password").write_text(LOGIN[1], encoding="utf-8")
        monkeypatch.setattr(generated_secrets, "FOLDER", tmp_path)
        monkeypatch.setattr(airflow_watch, "PAUSE", 0.0)
        monkeypatch.setattr(airflow_task_log, "PAUSE", 0.05)
        yield airflow


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command with make's arguments; return its exit code and the lines of both outputs."""

    from scripts.__main__ import main

    def run(name: str, **arguments: str) -> Said:
        for argument in ARGUMENTS:
            monkeypatch.setenv(argument, arguments.get(argument, ""))
        code = main([name])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run
