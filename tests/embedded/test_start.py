"""`make up` without Docker: healthy, alone in its clone, on ports of its own, and quick when there is nothing to do."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.embedded.conftest import Embedded, copy_of_project
from tests.engine_support import eventually

SERVICES = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "janitor")


def test_up_says_what_it_chose_and_tells_each_service_once(stack: Embedded) -> None:
    lines = stack.said[0].splitlines()

    assert len([line for line in lines if line.startswith("running without Docker: ")]) == 1
    assert sorted(line.strip() for line in lines if line.endswith(": healthy")) == sorted(
        f"{name}: healthy" for name in SERVICES
    )
    assert f"Airflow   http://127.0.0.1:{stack.port}" in lines


def test_second_up_touches_nothing_and_is_quick(stack: Embedded) -> None:
    before, began = stack.pids(), time.monotonic()

    done = stack.make("up")

    assert time.monotonic() - began < 5
    assert (done.returncode, stack.pids()) == (0, before)
    assert "everything is running and unchanged" in done.stderr


def test_shipped_dag_runs_green(stack: Embedded) -> None:
    eventually(lambda: "tutorial-hello-world" in stack.dag_ids(), within=30)

    run_path = stack.trigger("tutorial-hello-world")

    assert stack.result(run_path) == "success"
    assert "airflow" in stack.log(run_path, "hello_world")


def test_two_at_once_one_wins_and_the_other_says_so(stack: Embedded) -> None:
    both = [stack.begin("up"), stack.begin("up")]

    told = [process.communicate(timeout=60)[1] for process in both]

    codes = sorted(process.returncode for process in both)
    refused = [text for text in told if "make up: another command is at work in this clone" in text]
    assert codes in ([0, 2], [0, 0]) and len(refused) == codes.count(2)
    assert stack.is_healthy()


def test_nothing_listens_but_the_web_page_on_loopback(stack: Embedded) -> None:
    ours = {int(path.name) for pid in stack.pids().values() for path in Path("/proc").glob(str(pid))}
    sessions = {pid for pid in ours}
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout.splitlines()
    if not listening:
        pytest.skip("no ss here")

    places = [line.split()[3] for line in listening if any(f"pid={pid}," in line for pid in sessions)]

    assert places == [f"127.0.0.1:{stack.port}"]


def test_port_that_was_asked_for_and_is_taken_stops_the_start(tmp_path: Path) -> None:
    clone = Embedded(copy_of_project(tmp_path / "clone"), "windrose-test-port", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        clone.configure(AIRFLOW_PORT=str(port))

        done = clone.make("up")

    assert done.returncode == 2
    assert f"port {port}: is taken by" in done.stderr and "set AIRFLOW_PORT in .env." in done.stderr
    assert not (clone.folder / "secrets").exists()


def test_the_usual_port_is_left_to_who_has_it(stack: Embedded) -> None:
    chosen = json.loads((stack.home / "ports.json").read_text())["web"]

    assert chosen == stack.port
    assert stack.call("GET", "/api/v2/monitor/health")[0] == 200
