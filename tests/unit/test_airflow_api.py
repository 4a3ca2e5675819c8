"""The functions that programs around Airflow call: what they return, and what where it goes wrong."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts import airflow_api
from scripts.airflow_api import (
    ApiError,
    airflow_dag_logs,
    airflow_get_dags,
    airflow_get_runs,
    airflow_get_tasks,
    airflow_get_token,
    airflow_setup_configuration,
    airflow_trigger_dag,
)
from scripts.settings import ROOT
from tests.api_support import LOGIN, SmallAirflow, small_airflow

NOWHERE = "http://127.0.0.1:9"
USER, PASSWORD = LOGIN
RUN = "manual__2025-09-24T12:04:36.778213+00:00"


@pytest.fixture
def airflow() -> Iterator[SmallAirflow]:
    """A server that answers as Airflow does."""
    with small_airflow() as airflow:
        yield airflow


@pytest.fixture
def configuration(airflow: SmallAirflow) -> Any:
    """A login to it."""
    return airflow_setup_configuration(airflow.address, USER, PASSWORD, strict=True)


def test_token_is_given_for_the_right_password(airflow: SmallAirflow) -> None:
    assert airflow_get_token(airflow.address, USER, PASSWORD) == "token-1"
    assert airflow_get_token(f"{airflow.address}/", USER, PASSWORD) == "token-2"


def test_no_token_where_the_login_is_refused_and_the_log_says_why(
    airflow: SmallAirflow, caplog: pytest.LogCaptureFixture
) -> None:
    assert airflow_get_token(airflow.address, USER, "wrong-password") is None
    assert airflow_get_token(NOWHERE, USER, PASSWORD) is None

    refused, silent = (record.getMessage() for record in caplog.records)
    assert refused.startswith(f"Airflow at {airflow.address}: does not accept the login (status 401); ")
    assert silent == f"Airflow at {NOWHERE}: does not answer (Connection refused); see `make status`."
    assert "password" not in silent
    assert "wrong-password" not in refused


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_proxy_of_the_environment_sees_nothing_of_this_machine(
    airflow: SmallAirflow, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with small_airflow() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        port = airflow.address.rpartition(":")[2]
        found = airflow_get_dags(airflow_setup_configuration(host.format(port=port), USER, PASSWORD), strict=True)

        assert (found, proxy.asked, proxy.logins) == ({}, [], 0)


def test_configuration_shows_its_password_nowhere(configuration: Any) -> None:
    shown = repr(configuration) + repr(vars(configuration)) + configuration.to_debug_report()

    assert configuration.access_token == "token-1"
    assert PASSWORD not in shown


def test_expired_token_is_renewed_once_and_the_question_put_again(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")
    airflow.forget_tokens()

    assert airflow_get_dags(configuration, strict=True) == {"one": {"tags": []}}
    assert airflow_get_dags(copy.deepcopy(configuration), strict=True) == {"one": {"tags": []}}
    assert (airflow.logins, configuration.access_token) == (2, "token-2")


def test_token_from_before_new_secrets_is_renewed(airflow: SmallAirflow, configuration: Any) -> None:
    configuration.access_token = "signed with a secret of old"

    assert airflow_get_dags(configuration, strict=True) == {}
    assert (airflow.logins, configuration.access_token) == (2, "token-2")


def test_log_of_a_task_is_read_with_a_renewed_token_too(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", RUN, "say")
    airflow.logs["say"] = [{"event": "airflow"}]
    airflow.forget_tokens()

    assert airflow_dag_logs(configuration, "one", RUN, "say", 1, strict=True) == ["airflow"]


def test_configuration_that_cannot_log_in_tells_so(airflow: SmallAirflow) -> None:
    from airflow_client.client import Configuration

    with pytest.raises(ApiError) as told:
        airflow_get_dags(Configuration(host=airflow.address), strict=True)

    assert told.value.status == 401


def test_login_is_made_up_for_when_airflow_was_down_at_first(
    airflow: SmallAirflow, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.add_dag("one")
    airflow.is_up = False

    configuration = airflow_setup_configuration(airflow.address, USER, PASSWORD)
    assert (configuration.access_token, airflow_get_dags(configuration)) == (None, {})
    assert "the login failed inside Airflow (status 503)" in caplog.text

    airflow.is_up = True
    assert airflow_get_dags(configuration) == {"one": {"tags": []}}


def test_dags_beyond_the_first_page_are_found(airflow: SmallAirflow, configuration: Any) -> None:
    for number in range(250):
        airflow.add_dag(
            f"dag-{number:03}", tags=[{"name": "many", "dag_id": f"dag-{number:03}", "dag_display_name": ""}]
        )
    airflow.add_dag("other")

    found = airflow_get_dags(configuration, tags=["many"])

    assert len(airflow.asked) == 3
    assert (list(found)[0], list(found)[-1], len(found)) == ("dag-000", "dag-249", 250)
    assert found["dag-000"] == {"tags": ["many"]}


@pytest.mark.parametrize(("limit", "found", "questions"), [(0, 0, 0), (7, 7, 1), (120, 120, 2), (999, 150, 2)])
def test_limit_is_how_many_are_returned(
    airflow: SmallAirflow, configuration: Any, limit: int, found: int, questions: int
) -> None:
    for number in range(150):
        airflow.add_dag(f"dag-{number:03}")

    assert (len(airflow_get_dags(configuration, limit)), len(airflow.asked)) == (found, questions)


def test_runs_have_the_shape_of_the_contract(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", RUN)

    assert airflow_get_runs(configuration, "one") == [
        {
            "id": RUN,
            "type": "manual",
            "state": "success",
            "start": "027288-37-04-12-24-09-2025",
            "end": "853600-41-04-12-24-09-2025",
            "time": 4.826312,
            "trigger": "rest_api",
        }
    ]


def test_unfinished_runs_hide_no_finished_one(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", "first")
    airflow.add_run("one", "second", state="running", end_date=None)
    airflow.add_run("one", "third", state="queued", start_date=None, end_date=None, triggered_by=None)

    rows = airflow_get_runs(configuration, "one")

    shown = [(row["id"], row["state"], row["start"], row["end"], row["time"], row["trigger"]) for row in rows]
    began = "027288-37-04-12-24-09-2025"
    assert shown == [
        ("first", "success", began, "853600-41-04-12-24-09-2025", 4.826312, "rest_api"),
        ("second", "running", began, None, None, "rest_api"),
        ("third", "queued", None, None, None, None),
    ]


def test_times_are_shown_in_utc(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", RUN, start_date="2025-12-31T23:30:00+02:00", end_date="2026-01-01T00:30:00.5-01:00")

    (row,) = airflow_get_runs(configuration, "one")

    assert (row["start"], row["end"], row["time"]) == (
        "000000-00-30-21-31-12-2025",
        "500000-00-30-01-01-01-2026",
        14400.5,
    )


def test_parameters_of_tasks_are_plain_values(airflow: SmallAirflow, configuration: Any) -> None:
    wrapped = {
        "connection": {"value": "cloud-cpouta-1", "schema": {"type": "string"}, "description": "x", "source": "dag"},
        "remote-path": {"value": "/home/ubuntu", "schema": {}, "description": None, "source": "dag"},
        "of its own": {"value": {"value": 1, "schema": 2}, "schema": {}, "description": None, "source": None},
        "bare": 3,
    }
    common = {"depends_on_past": False, "extra_links": [], "retry_exponential_backoff": 0, "wait_for_downstream": False}
    airflow.add_dag("one")
    airflow.tasks["one"] = [
        {**common, "task_id": "ask", "task_display_name": "Ask", "params": wrapped, "downstream_task_ids": ["b", "a"]},
        {**common, "task_id": "end", "task_display_name": "end", "params": None, "downstream_task_ids": None},
    ]

    plain = {
        "connection": "cloud-cpouta-1",
        "remote-path": "/home/ubuntu",
        "of its own": {"value": 1, "schema": 2},
        "bare": 3,
    }
    assert airflow_get_tasks(configuration, "one") == [
        {"id": "ask", "name": "Ask", "parameters": plain, "downstream": ["a", "b"]},
        {"id": "end", "name": "end", "parameters": {}, "downstream": []},
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, ["::group::Log message source details", "::endgroup::", "hello", "a secret word"]),
        ([], ["::group::Log message source details", "::endgroup::", "hello", "a secret word"]),
        (["::", "secret"], ["hello"]),
        ("secret", ["::group::Log message source details", "::endgroup::", "hello"]),
    ],
    ids=["none", "empty", "two", "a string"],
)
def test_log_lines_with_filtered_words_are_left_out(
    airflow: SmallAirflow, configuration: Any, words: Any, expected: list[str]
) -> None:
    texts = ["::group::Log message source details", "::endgroup::", "hello", "a secret word"]
    airflow.add_dag("one")
    airflow.add_run("one", RUN, "say")
    airflow.logs["say"] = [{"event": text, "timestamp": "2025-09-24T12:04:36Z"} for text in texts]

    assert airflow_dag_logs(configuration, "one", RUN, "say", 1, filtered_words=words) == expected


def test_trigger_sends_the_parameters_and_tells_the_run(airflow: SmallAirflow, configuration: Any) -> None:
    airflow.add_dag("one")

    started = airflow_trigger_dag(configuration, "one", {"user": "user@example.com"})

    assert airflow.bodies == [{"logical_date": None, "conf": {"user": "user@example.com"}}]
    assert started == {
        "id": "manual__new",
        "parameters": {"user": "user@example.com"},
        "state": "queued",
        "queue": "800000-36-04-12-24-09-2025",
        "after": "778213-36-04-12-24-09-2025",
    }


CALLS: dict[str, Callable[..., Any]] = {
    "dags": lambda configuration, **how: airflow_get_dags(configuration, **how),
    "runs": lambda configuration, **how: airflow_get_runs(configuration, "one", **how),
    "tasks": lambda configuration, **how: airflow_get_tasks(configuration, "one", **how),
    "logs": lambda configuration, **how: airflow_dag_logs(configuration, "one", RUN, "say", 1, **how),
    "trigger": lambda configuration, **how: airflow_trigger_dag(configuration, "one", {}, **how),
}
FAULTS = {
    "not found": (404, {"detail": "The Dag with ID: `one` was not found"}, "The Dag with ID: `one` was not found"),
    "schema": (400, {"detail": "Invalid input for param n: 5 is not a 'string'\n\nFailed validating"}, "'string';"),
    "list": (422, {"detail": [{"loc": ["body", "conf"], "msg": "Input should be an object"}]}, "conf: Input should"),
    "forbidden": (403, {"detail": "Forbidden"}, "use an account whose role may do it"),
    "broken": (500, {}, "make logs SERVICE=airflow-apiserver"),
    "unreadable": (200, {"surprise": "s3cret"}, "cannot be asked or read"),
}
CASES = [(call, fault) for call in CALLS for fault in FAULTS if (call, fault) != ("logs", "unreadable")]


@pytest.mark.parametrize(("call", "fault"), CASES)
def test_failure_is_an_empty_value_and_a_line_in_the_log(
    airflow: SmallAirflow,
    configuration: Any,
    caplog: pytest.LogCaptureFixture,
    call: str,
    fault: str,
) -> None:
    status, body, sentence = FAULTS[fault]
    airflow.refusals = [(status, body)] * 2

    assert CALLS[call](configuration) == {}
    with pytest.raises(ApiError) as told:
        CALLS[call](configuration, strict=True)

    (record,) = caplog.records
    assert (record.levelno, record.name, record.getMessage()) == (logging.ERROR, "scripts.airflow_api", str(told.value))
    assert sentence in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert "s3cret" not in str(told.value)
    assert (told.value.where, told.value.problem, told.value.fix) != ("", "", "")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_server_that_is_gone_is_told(airflow: SmallAirflow, configuration: Any, call: Callable[..., Any]) -> None:
    configuration.host = NOWHERE

    with pytest.raises(ApiError) as told:
        call(configuration, strict=True)

    assert str(told.value) == f"Airflow at {NOWHERE}: does not answer (Connection refused); see `make status`."


def test_something_else_that_answers_is_told(caplog: pytest.LogCaptureFixture, airflow: SmallAirflow) -> None:
    assert airflow_get_token(f"{airflow.address}/elsewhere", USER, PASSWORD) is None

    assert "status 401" in caplog.text


def test_client_is_of_the_release_that_runs() -> None:
    pins = [
        re.findall(r"^apache-airflow-client==\S+", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name in ("scripts/requirements.txt", "constraints.txt")
    ]

    assert pins[0] == pins[1] != []


def test_importing_the_functions_does_not_import_the_client() -> None:
    program = "import sys, scripts.airflow_api; print([name for name in sys.modules if 'airflow_client' in name])"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_page_that_shrinks_while_it_is_read_ends() -> None:
    answers = iter([(list(range(100)), 300), ([], 300)])

    assert len(airflow_api.pages(lambda size, offset: next(answers), None)) == 100


@pytest.mark.parametrize("host", ["airflow.example.org", "http://127.0.0.1:port", "http://127.0.0.1:{banner}"])
def test_address_where_no_airflow_can_be_gives_no_token(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet_as_another_program, args=(server,), daemon=True).start()

        assert airflow_get_token(host.replace("{banner}", str(server.getsockname()[1])), USER, PASSWORD) is None


def greet_as_another_program(server: socket.socket) -> None:
    """Answer the first caller as a mail server does."""
    with contextlib.suppress(OSError):
        connection = server.accept()[0]
        connection.recv(1000)
        connection.sendall(b"220 mail.example.org ready\r\n")
        connection.close()
