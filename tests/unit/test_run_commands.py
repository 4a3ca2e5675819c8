"""`make trigger`: what is started, how it is waited for, and how it ends; and who asks no Airflow."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import generated_secrets
from scripts.settings import ROOT
from tests.api_support import SmallAirflow, fail, instance_json

Said = tuple[int, list[str], list[str]]


def params(*names: str) -> dict[str, Any]:
    """Parameters as the API shows them."""
    return {name: {"value": "", "schema": {}, "description": None, "source": "dag"} for name in names}


def test_trigger_tells_the_run_its_page_and_what_to_do_next(
    airflow: SmallAirflow, command: Callable[..., Said]
) -> None:
    airflow.add_dag("one")

    code, said, errors = command("trigger", DAG="one", CONF='{"a": "$HOME"}')

    assert (code, errors, airflow.bodies[-1]["conf"]) == (0, [], {"a": "$HOME"})
    assert said == [
        "one  manual__new",
        f"{airflow.address}/dags/one/runs/manual__new",
        "next: `make runs DAG=one` shows how it goes, `make dag-logs DAG=one` its log",
    ]


def test_unknown_dag_is_told_with_the_nearest_name(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("tutorial-main")
    airflow.add_dag("tutorial-hello-world")
    airflow.broken_files = 2

    for name in ("trigger", "runs", "dag_logs"):
        assert command(name, DAG="tutorial-mian") == (
            2,
            [],
            [
                "DAG: there is no tutorial-mian (2 of the files in dags/ cannot be read: `make status`); "
                "did you mean tutorial-main?."
            ],
        )
    assert command("trigger", DAG="xyz")[2][0].endswith("; `make dags` lists them.")


def test_missing_dag_is_told_without_asking(command: Callable[..., Said]) -> None:
    sentence = "DAG: is missing; run `make trigger DAG=...`; `make dags` lists them."

    assert command("trigger") == (2, [], [sentence])


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ("{'a': 1}", "CONF: is not JSON: Expecting property name enclosed in double quotes in line 1, column 2; "),
        ('{"a": 1,\n "b" 2}', "CONF: is not JSON: Expecting ':' delimiter in line 2, column 6; "),
        ("[1]", "CONF: is JSON, but no object: [1]; "),
        ("@no-such-file.json", "CONF: no-such-file.json cannot be read (No such file or directory); "),
        ("@", "CONF: @ cannot be read (Is a directory); "),
    ],
)
def test_conf_that_cannot_be_used_is_told(command: Callable[..., Said], conf: str, sentence: str) -> None:
    code, said, (error,) = command("trigger", DAG="one", CONF=conf)

    assert (code, said, error.startswith(sentence)) == (2, [], True), error


def test_conf_comes_from_a_file_or_from_standard_input(
    airflow: SmallAirflow, command: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.add_dag("one")
    file = tmp_path / "conf.json"
    file.write_text('{"from": "a file"}', encoding="utf-8-sig")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "standard input"}'))

    command("trigger", DAG="one", CONF=f"@{file}")
    command("trigger", DAG="one", CONF="-")

    assert [body["conf"]["from"] for body in airflow.bodies] == ["a file", "standard input"]


def test_what_the_schema_refuses_is_told_with_the_parameters(
    airflow: SmallAirflow, command: Callable[..., Said]
) -> None:
    airflow.add_dag("one", params=params("count", "name"))
    refusal = "Invalid input for param count: 'x' is not of type 'integer'\n\nFailed validating 'type' in schema"
    airflow.refusals = []
    original = airflow.answer
    airflow.answer = lambda method, *rest: (  # type: ignore[method-assign]
        (400, {"detail": refusal}) if method == "POST" else original(method, *rest)
    )

    code, said, errors = command("trigger", DAG="one", CONF='{"count": "x", "nam": 1}')

    assert (code, said) == (1, [])
    assert errors == [
        "CONF: nam is no parameter of one; did you mean name?",
        "one: Airflow refuses the run: Invalid input for param count: 'x' is not of type 'integer'; "
        "its parameters are count, name.",
    ]


def test_paused_dag_is_started_only_when_that_is_asked(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one", is_paused=True)

    refused = command("trigger", DAG="one")
    assert refused == (
        1,
        [],
        [
            f"DAG: one is paused, so a run would only wait; switch it on at {airflow.address}/dags/one, "
            "or add UNPAUSE=yes; its schedule begins then, too."
        ],
    )
    assert airflow.runs["one"] == []

    code, said, _ = command("trigger", DAG="one", UNPAUSE="yes")
    assert (code, said[0], airflow.dags["one"]["is_paused"]) == (0, "one was paused and is no longer", False)


def test_wait_tells_each_change_once_and_ends_as_the_run_does(
    airflow: SmallAirflow, command: Callable[..., Said]
) -> None:
    airflow.add_dag("one")
    looks = iter(range(100))

    def go_on() -> None:
        look, run = next(looks), airflow.runs["one"][-1]
        first, second = (instance_json(run, name, state=None, duration=None) for name in ("first", "second"))
        mapped = [instance_json(run, "many", map_index=index, state="running") for index in range(3)]
        if look >= 1:
            run["state"] = "running"
            first["state"] = "running"
        if look >= 3:
            first |= {"state": "success", "duration": 0.52}
        if look >= 4:
            mapped[0]["state"] = mapped[1]["state"] = "success"
            second |= {"state": "up_for_retry", "max_tries": 2}
        if look >= 6:
            mapped[2]["state"] = "skipped"
            second |= {"state": "success", "duration": 61.4}
            run |= {"state": "success", "start_date": "2025-09-24T12:00:00Z", "end_date": "2025-09-24T13:02:03Z"}
        airflow.instances["manual__new"] = [first, second, *mapped]

    airflow.on_look = go_on
    code, said, errors = command("trigger", DAG="one", WAIT="1")

    assert (code, errors) == (0, [])
    assert [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in said[2:]] == [
        "many    3 instances: 3 running",
        "first   running",
        "first   success after 0.5 s",
        "second  up_for_retry, try 1 of 3",
        "many    3 instances: 1 running, 2 success",
        "second  success after 1 min 01 s",
        "many    3 instances: 2 success, 1 skipped",
        "success after 1 h 02 min",
    ]


def test_wait_ends_with_the_last_lines_of_what_failed(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.on_look = lambda: fail(airflow)

    code, said, errors = command("trigger", DAG="one", WAIT="yes")

    assert (code, errors) == (1, [])
    begin = said.index("== sums[0]  failed, try 2 of 2, 1.2 s")
    assert said[begin + 1 : begin + 3] == ["(13 lines before these)", "12:00:01 line 13"]
    assert said[begin + 28 : begin + 34] == [
        "12:00:01 line 39",
        "12:00:02 ERROR Task failed with exception",
        "    dags/mine/one.py line 7 in sums",
        "    ValueError: no such sum",
        "",
        "== sums[1]  failed, try 2 of 2, 1.2 s",
    ]
    assert said[-2:] == [
        "failed after 9.0 s",
        "2 tasks failed; `make dag-logs DAG=one RUN=manual__new` shows the whole log",
    ]


def test_reason_that_comes_after_the_end_is_waited_for(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.on_look = lambda: fail(airflow)
    original = airflow.answer
    reads: list[str] = []

    def answer(method: str, path: str, *rest: Any) -> tuple[int, Any]:
        status, found = original(method, path, *rest)
        reads.extend([path] if "/logs/" in path else [])
        return status, "\n".join(found.splitlines()[:-1]) if "/logs/" in path and len(reads) < 4 else found

    airflow.answer = answer  # type: ignore[method-assign]

    assert command("trigger", DAG="one", WAIT="yes")[1].count("    ValueError: no such sum") == 2
    assert len(reads) == 5


def test_run_that_failed_without_a_failed_task_says_why_that_may_be(
    airflow: SmallAirflow, command: Callable[..., Said]
) -> None:
    airflow.add_dag("one")
    airflow.on_look = lambda: airflow.runs["one"][-1].update(state="failed")

    code, said, _ = command("trigger", DAG="one", WAIT="1")

    assert (code, said[-1].partition(";")[0]) == (
        1,
        "no task failed: the run took too long or was set to failed by hand",
    )


def test_wait_bears_a_server_that_is_away_for_a_while(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")

    def restart() -> None:
        airflow.refusals = [(503, {})] * 3
        airflow.tokens.clear()
        airflow.on_look = lambda: airflow.runs["one"][-1].update(state="success")

    airflow.on_look = restart
    code, _, errors = command("trigger", DAG="one", WAIT="1")

    assert (code, errors) == (0, ["Airflow gives no answer; waiting for it, the run goes on by itself"])


def test_interrupt_stops_the_waiting_only(
    airflow: SmallAirflow, command: Callable[..., Said], monkeypatch: Any
) -> None:
    airflow.add_dag("one")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.airflow_watch.time.sleep", interrupt)
    code, _, errors = command("trigger", DAG="one", WAIT="1")

    assert (code, errors) == (130, ["", "stopped waiting; the run goes on: `make dag-logs DAG=one RUN=manual__new`"])
    assert [method for method, _ in airflow.asked if method != "GET"] == ["POST"]


@pytest.mark.parametrize("name", ["trigger", "runs", "dag_logs", "dags"])
def test_stack_that_is_down_is_told(command: Callable[..., Said], monkeypatch: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "admin_password").write_text("x", encoding="utf-8")
    monkeypatch.setattr(generated_secrets, "FOLDER", tmp_path)
    monkeypatch.setattr("scripts.embedded.EmbeddedStack.address", lambda _: "http://127.0.0.1:9")
    monkeypatch.setattr("scripts.embedded_start.current", lambda: None)
    monkeypatch.setenv("RUNTIME", "embedded")

    assert command(name, DAG="one") == (1, [], ["Airflow: is not running; run `make up`."])


def test_commands_of_every_day_do_not_import_the_client() -> None:
    names = ", ".join(f"scripts.commands.{name}" for name in ("status", "up", "credentials", "trigger", "dags"))
    program = f"import sys, {names}; print([name for name in sys.modules if 'airflow_client' in name])"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
