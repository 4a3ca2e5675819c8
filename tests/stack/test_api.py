"""The API client and its commands, against a real Airflow."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scripts import airflow_session
from scripts.airflow_api import (
    ApiError,
    airflow_dag_logs,
    airflow_get_dags,
    airflow_get_runs,
    airflow_get_tasks,
    airflow_trigger_dag,
)
from tests.api_support import administrator, ended
from tests.engine_support import Stack, eventually

OWN = """
from airflow.sdk import DAG, Param, task

def form():
    return {"number": Param(2, type="integer", minimum=1, title="Number"), "wait": Param(0, type="integer")}

with DAG("own-api-good", schedule=None, params=form(), is_paused_upon_creation=False):

    @task
    def numbers(params: dict) -> list[int]:
        import time

        time.sleep(params["wait"])
        return list(range(params["number"]))

    @task
    def square(number: int) -> int:
        return number * number

    square.expand(number=numbers())

with DAG("own-api-bad", schedule=None, is_paused_upon_creation=False):

    @task
    def well() -> None:
        print("this went well")

    @task
    def badly() -> None:
        for number in range(50):
            print("before it number", number)
        raise ValueError("so it ends")

    @task
    def never() -> None:
        print("nobody sees this")

    well() >> badly() >> never()

with DAG("own-api-wide", schedule=None, is_paused_upon_creation=False):

    @task.short_circuit
    def stop() -> bool:
        return False

    @task
    def one_of_many(number: int) -> None:
        pass

    # More than the server hands out at once.
    stop() >> one_of_many.expand(number=list(range(104)))

with DAG("own-api-paused", schedule=None, is_paused_upon_creation=True):

    @task
    def wait_for_ever() -> None:
        pass

    wait_for_ever()
"""
OWN_DAGS = {"own-api-good", "own-api-bad", "own-api-wide", "own-api-paused"}
TUTORIAL = ("dependency", "hello-world", "interaction", "main", "sub-1", "sub-2", "sub-3")
MOMENT = r"\d{6}-\d\d-\d\d-\d\d-\d\d-\d\d-20\d\d"


@pytest.fixture(scope="module", autouse=True)
def own_dags(stack: Stack) -> Iterator[None]:
    """DAGs that end well, badly and never; gone in the end with all their runs."""
    file = stack.write_dag("api_dag.py", OWN)
    eventually(lambda: set(stack.dag_ids()) >= OWN_DAGS, within=60)
    yield
    file.unlink()
    eventually(lambda: not OWN_DAGS & set(stack.dag_ids()), within=60)
    for dag_id in OWN_DAGS:
        assert stack.call("DELETE", f"/api/v2/dags/{dag_id}", token=stack.token)[0] == 204


@pytest.fixture(scope="module")
def configuration(stack: Stack) -> Any:
    """The administrator's login."""
    return administrator(stack)


def test_tutorial_is_found_by_its_tag(configuration: Any) -> None:
    found = airflow_get_dags(configuration, 100, ["integration"], "dag_id", strict=True)

    assert list(found.items()) == [(f"tutorial-{name}", {"tags": ["integration"]}) for name in TUTORIAL]


def test_pages_are_put_together(configuration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = airflow_get_dags(configuration, strict=True)
    monkeypatch.setattr(airflow_session, "PAGE", 3)

    assert airflow_get_dags(configuration, strict=True) == whole
    assert list(airflow_get_dags(configuration, limit=5, strict=True)) == list(whole)[:5]
    assert list(airflow_get_dags(configuration, order_by="-dag_id", strict=True)) == list(whole)[::-1]


def test_runs_that_have_not_begun_are_returned_from_every_page(
    configuration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = [airflow_trigger_dag(configuration, "own-api-paused", strict=True)["id"] for _ in range(5)]
    monkeypatch.setattr(airflow_session, "PAGE", 2)

    rows = airflow_get_runs(configuration, "own-api-paused", strict=True)

    assert [row["id"] for row in rows] == started
    assert {(row["state"], row["start"], row["end"], row["time"]) for row in rows} == {("queued", None, None, None)}
    assert airflow_get_runs(configuration, "own-api-paused", limit=3, strict=True) == rows[:3]
    assert airflow_get_runs(configuration, "own-api-paused", order_by="-id", strict=True) == rows[::-1]


def test_run_is_started_and_followed_to_its_log(configuration: Any) -> None:
    given = {"token": "test", "user": "someone@example.com", "message": "hi", "target": "you"}

    run = airflow_trigger_dag(configuration, "tutorial-dependency", given, strict=True)
    row = ended(configuration, "tutorial-dependency", run["id"])
    tasks = airflow_get_tasks(configuration, "tutorial-dependency", "task_id", strict=True)
    lines = airflow_dag_logs(configuration, "tutorial-dependency", run["id"], "utilizer", 1, [], strict=True)
    filtered = airflow_dag_logs(configuration, "tutorial-dependency", run["id"], "utilizer", 1, ["::", "someone"])

    assert (list(run), run["parameters"], run["state"]) == (
        ["id", "parameters", "state", "queue", "after"],
        given,
        "queued",
    )
    assert [run[key] for key in ("queue", "after") if not re.fullmatch(MOMENT, run[key])] == []
    assert (row["type"], row["state"], row["trigger"], row["time"] > 0) == ("manual", "success", "rest_api", True)
    assert [row[key] for key in ("start", "end") if not re.fullmatch(MOMENT, row[key])] == []
    assert [(task["id"], task["downstream"]) for task in tasks] == [
        ("preprocess", ["utilizer"]),
        ("setup", ["preprocess"]),
        ("utilizer", []),
    ]
    assert lines[:1] == ["::group::Log message source details"]
    assert "someone-example-com used test and said hi to you" in lines
    assert 0 < len(filtered) < len(lines)
    assert [line for line in filtered if "::" in line or "someone" in line] == []


def test_parameters_of_tasks_are_plain(configuration: Any) -> None:
    ask = {"connection": "cloud-cpouta-1", "remote-path": "/home/ubuntu"}

    assert airflow_get_tasks(configuration, "tutorial-interaction", strict=True) == [
        {"id": "sftp_interaction", "name": "sftp_interaction", "parameters": ask, "downstream": []},
        {"id": "ssh_interaction", "name": "ssh_interaction", "parameters": ask, "downstream": ["sftp_interaction"]},
    ]


def test_token_that_is_no_longer_accepted_is_renewed(configuration: Any) -> None:
    configuration.access_token = "nothing that was ever signed"

    assert len(airflow_get_dags(configuration, tags=["integration"], strict=True)) == len(TUTORIAL)
    assert configuration.access_token != "nothing that was ever signed"


def test_what_the_schema_refuses_is_told(configuration: Any) -> None:
    with pytest.raises(ApiError) as told:
        airflow_trigger_dag(configuration, "own-api-good", {"number": "many"}, strict=True)

    assert (told.value.status, "number" in str(told.value), "'integer'" in str(told.value)) == (400, True, True)


def test_trigger_waits_for_the_end_and_shows_what_failed(stack: Stack) -> None:
    with ThreadPoolExecutor(3) as threads:
        good = threads.submit(stack.command, "trigger", DAG="own-api-good", CONF='{"number": 5}', WAIT="1")
        bad = threads.submit(stack.command, "trigger", DAG="own-api-bad", WAIT="1")
        wide = threads.submit(stack.command, "trigger", DAG="own-api-wide", WAIT="1")

    done = good.result()
    assert (done.returncode, done.stderr) == (0, "")
    assert "square   5 instances: 5 success" in done.stdout
    assert re.fullmatch(r"success after \d+\.\d s", done.stdout.splitlines()[-1])

    assert wide.result().returncode == 0
    assert "one_of_many  104 instances: 104 skipped" in wide.result().stdout

    done = bad.result()
    run_id = done.stdout.split()[1]
    *shown, ending, hint = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"\d\d:\d\d:\d\d  never  upstream_failed", done.stdout)
    assert (ending[:12], hint) == (
        "failed after",
        f"1 task failed; `make dag-logs DAG=own-api-bad RUN={run_id}` shows the whole log",
    )
    assert "before it number 49" in done.stdout
    assert "before it number 3\n" not in done.stdout
    assert re.fullmatch(r"    dags/own/api_dag.py line \d+ in badly", shown[-2])
    assert shown[-1] == "    ValueError: so it ends"


def test_trigger_refuses_what_would_not_run(stack: Stack) -> None:
    misspelt = stack.command("trigger", DAG="own-api-god")
    refused = stack.command("trigger", DAG="own-api-good", CONF='{"number": 0}')
    paused = stack.command("trigger", DAG="own-api-paused")

    assert (misspelt.returncode, misspelt.stderr) == (
        2,
        "DAG: there is no own-api-god; did you mean own-api-good?.\n",
    )
    assert (refused.returncode, "0 is less than the minimum of 1" in refused.stderr) == (1, True)
    assert refused.stderr.endswith("; its parameters are number, wait.\n")
    assert (paused.returncode, "is paused" in paused.stderr, "UNPAUSE=yes" in paused.stderr) == (1, True, True)


def test_interrupt_stops_the_waiting_and_not_the_run(stack: Stack, configuration: Any) -> None:
    arguments = {"DAG": "own-api-good", "CONF": '{"number": 1, "wait": 4}', "WAIT": "1"}
    argv = [".venv/bin/python", "-m", "scripts", "trigger"]
    with subprocess.Popen(
        argv,
        cwd=stack.folder,
        env=stack.environment(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        first, _, _ = (process.stdout.readline() for _ in range(3))
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=20)[1]

    run_id = first.split()[1]
    assert (process.returncode, errors.splitlines()[-1].partition(":")[0]) == (
        130,
        "stopped waiting; the run goes on",
    )
    assert ended(configuration, "own-api-good", run_id)["state"] == "success"


def test_runs_logs_and_dags_are_shown(stack: Stack) -> None:
    runs = stack.command("runs", DAG="own-api-bad")
    logs = stack.command("dag_logs", DAG="own-api-bad")
    whole = stack.command("dag_logs", DAG="own-api-bad", TASK="badly", LINES="9999")
    dags = stack.command("dags")

    header, first, *_ = runs.stdout.splitlines()
    assert header.split() == ["RUN", "STATE", "STARTED", "TOOK", "TRIGGERED"]
    assert re.search(r"failed  20\d\d-.* s  +rest_api by admin$", first)
    titles = [line for line in logs.stdout.splitlines() if line.startswith("==")]
    assert [title.split(",")[0] for title in titles] == [
        "== badly  failed",
        "== well  success",
        "== never  upstream_failed",
    ]
    assert "this went well" in logs.stdout
    assert "before it number 0\n" in whole.stdout
    rows = {line.split()[0]: line.split() for line in dags.stdout.splitlines() if line}
    assert (rows["DAG"], rows["own-api-bad"]) == (
        ["DAG", "PAUSED", "SCHEDULE", "LAST", "RUN", "TAGS"],
        ["own-api-bad", "by", "hand", "failed"],
    )
    assert rows["own-api-paused"][:2] == ["own-api-paused", "paused"]
    assert rows["tutorial-main"][-1] == "integration"
