"""What is told, and done, when Compose gives up; a stand-in for docker loses the race that cannot be provoked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from scripts import compose_start
from scripts.errors import KitError

DOCKER = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
case "$1" in
    compose) echo . >> ups; echo "Error: {words}"; [ "$(wc -l < ups)" -gt {failures} ] ;;
    ps) state='created\\tCreated'; [ "$(wc -l < ups)" -gt {failures} ] && state='running\\tUp 1 second (healthy)'
        printf "1\\tweb\\t$state\\timage\\thash\\t/clone\\t1\\tFalse\\n" ;;
esac
"""


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failures: int, words: str = "no such container") -> None:
    """Start a stack on a stand-in that fails so many times."""
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(failures=failures, words=words), encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "ups").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    compose_start.Start("project", {"PATH": f"{tmp_path}:/usr/bin:/bin"}).run()


def test_lost_race_is_told_and_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(tmp_path, monkeypatch, failures=1)

    said = capsys.readouterr().err
    assert "docker compose up gave up (Error: no such container); once more" in said
    assert "web: healthy" in said


def test_second_failure_is_told_at_once_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()

    with pytest.raises(KitError) as told:
        start(tmp_path, monkeypatch, failures=2, words="Bind for 127.0.0.1:8080 failed: port is already allocated")

    sentence = "docker compose up: the port is taken; set AIRFLOW_PORT in .env, then run `make up` again."
    assert str(told.value) == sentence
    # Far below the five minutes in which a service may become healthy: that is what it once waited for.
    assert time.monotonic() - began < compose_start.PATIENCE / 2
