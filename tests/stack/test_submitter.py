"""The guide's submitter, a program around Airflow, against a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from docs.examples.submitter import client
from docs.examples.submitter.client import request_submitter_route
from scripts.airflow_api import airflow_dag_logs, airflow_get_runs
from tests.api_support import administrator, ended
from tests.engine_support import Stack, eventually, free_port


@pytest.fixture(scope="module")
def configuration(stack: Stack) -> Any:
    """The administrator's login."""
    return administrator(stack)


@contextmanager
def program(stack: Stack, *words: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program from the clone for as long as it is needed."""
    process = subprocess.Popen(
        [".venv/bin/python", "-m", *words],
        cwd=stack.folder,
        env=stack.environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        stack.said.append(process.communicate(timeout=20)[1])


@pytest.fixture(scope="module")
def submitter(stack: Stack) -> Iterator[None]:
    """The submitter of the guide, on a port of its own."""
    port = free_port()
    client.ADDRESS = f"http://127.0.0.1:{port}"
    words = ("uvicorn", "docs.examples.submitter.service:app", f"--port={port}", "--log-level=warning")
    with program(stack, *words):
        eventually(lambda: answers("arti", {"type": "unknown"}) == 422, within=30)
        yield
    (stack.folder / ".windrose" / "submitter.json").unlink(missing_ok=True)


def answers(route: str, words: dict[str, str]) -> int:
    """Return the status that a route answers with, 0 where nothing does."""
    try:
        return request_submitter_route(None, route, words)[0]
    except OSError:
        return 0


def test_submitter_starts_a_run_and_tells_how_it_stands(submitter: None, configuration: Any, capsys: Any) -> None:
    given = {"token": "test", "user": "user@example.com", "message": "hello", "target": "airflow"}
    request = {"payload": {"mode": "task", "input": given}}
    capsys.readouterr()

    words = {"type": "run", "identity": "tasks.submitter-requests"}
    status, answer = request_submitter_route(None, "task", words, route_input=request)
    assert (status, capsys.readouterr().out) == (
        200,
        "Used route: GET:/interaction/task/run/tasks.submitter-requests\n",
    )

    look = {"type": "get", "identity": answer["output"]}
    standing: dict[str, Any] = {}

    def is_done() -> bool:
        standing.update(request_submitter_route(None, "task", look)[1]["output"])
        return standing["status"] == "SUCCESS"

    eventually(is_done, within=30)
    run = standing["result"]
    assert (list(run), run["parameters"]) == (["id", "parameters", "state", "queue", "after"], given)

    assert ended(configuration, "tutorial-dependency", run["id"])["state"] == "success"
    runs = request_submitter_route(None, "orch", {"type": "get", "key": "tutorial-dependency"})[1]["output"]
    logs = request_submitter_route(None, "arti", {"type": "get", "target": "tutorial-dependency"})[1]["output"]
    assert runs[0]["id"] == run["id"]
    assert "user-example-com used test and said hello to airflow" in logs["utilizer"]


def test_submitter_tells_of_a_task_that_failed(submitter: None) -> None:
    words = {"type": "run", "identity": "tasks.submitter-requests"}
    task_id = request_submitter_route(None, "task", words, route_input={"payload": {"mode": "?"}})[1]["output"]
    time.sleep(0.5)

    look = request_submitter_route(None, "task", {"type": "get", "identity": task_id})
    assert look == (200, {"output": {"status": "FAILURE", "result": "mode is '?'; write task"}})
    assert request_submitter_route(None, "task", {"type": "run", "identity": "nothing"}) == (404, {})
    assert request_submitter_route(None, "orch", {"type": "run", "key": "tutorial-main"}) == (422, {})


def test_scheduled_caller_starts_a_run_each_period_once_it_knows_for_whom(
    stack: Stack, submitter: None, configuration: Any
) -> None:
    def calls() -> list[str]:
        return [row["id"] for row in airflow_get_runs(configuration, "tutorial-main", strict=True)]

    before = set(calls())
    with program(stack, "docs.examples.submitter.trigger", SUBMITTER_PERIOD="3"):
        time.sleep(4)
        assert set(calls()) == before

        saved = {"user": "caller@example.com", "pre-auth-token": "s3cret"}
        assert request_submitter_route(None, "setup", route_input=saved) == (200, {"output": None})
        assert os.stat(stack.folder / ".windrose" / "submitter.json").st_mode & 0o777 == 0o600
        eventually(lambda: len(set(calls()) - before) >= 2, within=20)

    rows = [ended(configuration, "tutorial-main", run_id) for run_id in calls() if run_id not in before]
    assert {row["state"] for row in rows} == {"success"}
    (line,) = [
        line
        for line in airflow_dag_logs(configuration, "tutorial-main", rows[0]["id"], "main_utilizer", 1, strict=True)
        if "caller" in line
    ]
    assert line == "caller-example-com used test and said hello to airflow"
