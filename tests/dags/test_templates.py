"""What the templates are made of: who is told what, the condition of a DAG, the YAML file, the file that is awaited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRuntimeError,
    AirflowSkipException,
    ErrorType,
    TaskDeferred,
)
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.triggers.callback import CallbackTrigger
from functions.conditions import conditionally_trigger
from functions.dag_factory import read_datasets
from functions.tables import format_table
from windrose.data_folder import data_folder
from windrose.notifications import Notifier, message_of
from windrose.operators.dag import DagOperator, DagRunOrder
from windrose.operators.dag import run_id as ordered_run_id
from windrose.sensors.data_file import DataFileSensor

from tests.notify_support import Received, receiving

DAGS = Path(__file__).parents[2] / "dags"
STEPS = ("double", "total")


class LoggingNotifier(Notifier):
    """The notifier, whose words can be read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.said: list[str] = []

    @property
    def log(self) -> Any:
        def say(text: str, *words: object) -> None:
            self.said.append(text % words if words else text)

        return SimpleNamespace(info=say, warning=say, error=say)


def task_context(error: Exception | str = "", state: str = "failed") -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", run_id="r1", task_id="t", try_number=3, state=state, log_url="http://x/log", map_index=-1
    )
    return {"ti": ti, "task": SimpleNamespace(), **({"exception": error} if error else {})}


def dag_context() -> dict[str, Any]:
    return {"dag": SimpleNamespace(dag_id="d"), "run_id": "r1", "reason": "task_failure"}


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """Servers of both kinds, and the connections that `make connections` would register."""
    with receiving("127.0.0.1") as received:
        extra = {"from_email": "windrose@example.org", "to": ["a@example.org", "b@example.org"]}
        mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": received.smtp_port}
        mail["extra"] = {**extra, "disable_tls": True, "disable_ssl": True}
        webhook = {"conn_type": "http", "host": f"http://127.0.0.1:{received.http_port}/hook"}
        monkeypatch.setenv("AIRFLOW_CONN_NOTIFY-MAIL", json.dumps(mail))
        monkeypatch.setenv("AIRFLOW_CONN_NOTIFY-WEBHOOK", json.dumps(webhook))
        monkeypatch.setenv("NO_PROXY", "*")
        yield received


def test_failure_is_told_by_mail_and_webhook_for_task_and_dag(received: Received) -> None:
    notifier = LoggingNotifier()

    notifier(task_context(RuntimeError("no <disk> left")))
    notifier(dag_context())

    assert received.posts_of("r1") == ["DAG d failed", "task t of d failed"] == received.mails_of("r1")
    assert received.recipients == {"a@example.org", "b@example.org"}
    assert "RuntimeError: no <disk> left" in received.posts[0]
    assert "RuntimeError: no &lt;disk&gt; left" in received.mails[0]
    assert notifier.said[1:3] == [
        "sent a webhook through notify-webhook",
        "sent a mail to a@example.org, b@example.org",
    ]


def test_without_connections_the_log_says_so_and_nothing_fails() -> None:
    notifier = LoggingNotifier()

    notifier(task_context(RuntimeError("no disk left")))

    assert notifier.said[0].startswith("task t of d failed\ncause: RuntimeError: no disk left\nrun: r1, try 3")
    assert [line.split(";")[0] for line in notifier.said[1:]] == [
        "no webhook was sent: there is no connection notify-webhook",
        "no mail was sent: there is no connection notify-mail",
    ]


def test_server_that_is_down_fails_nothing(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY-WEBHOOK", "http://127.0.0.1:1")
    notifier = LoggingNotifier()

    notifier(dag_context())

    assert notifier.said[1].startswith("no webhook was sent: notify-webhook at 127.0.0.1: ")
    assert received.mails_of("r1") == ["DAG d failed"]


def test_address_of_a_webhook_that_is_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY-WEBHOOK", "http://http%3A%2F%2F127.0.0.1%3A1%2Fplanted%2Fpath")
    monkeypatch.setenv("NO_PROXY", "*")
    notifier = LoggingNotifier(mail="")

    notifier(dag_context())

    assert notifier.said[1].startswith("no webhook was sent: notify-webhook at 127.0.0.1: ")
    assert "planted/path" not in notifier.said[1]


def test_mail_goes_nowhere_without_an_address(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY-MAIL", json.dumps({"conn_type": "smtp", "host": "127.0.0.1"}))
    notifier = LoggingNotifier(webhook="")

    notifier(dag_context())

    assert "it says neither `from_email` nor `to`" in notifier.said[1]
    assert (received.posts, len(notifier.said)) == ([], 2)


def test_secret_in_a_cause_is_not_told() -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("planted-password-of-a-server")

    assert "planted" not in message_of(task_context(RuntimeError("login with planted-password-of-a-server"))).text


def test_deadline_retry_and_question_are_told_in_words_of_their_own() -> None:
    deadline = {
        "dag_run": {"dag_id": "d", "dag_run_id": "r 1"},
        "deadline": {"id": "x", "deadline_time": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)},
    }
    question = task_context()
    question["task"] = SimpleNamespace(
        subject="Go on?", body="1000 samples", generate_link_to_ui=lambda **_: "http://x/answer"
    )

    late, again, asked = map(message_of, (deadline, task_context(OSError("x"), "up_for_retry"), question))

    assert (late.subject, late.lines[0]) == (
        "DAG d missed its deadline",
        "it should have ended at 2026-05-04 03:02:01 UTC",
    )
    assert late.lines[-1].endswith("/dags/d/runs/r%201")
    assert again.subject == "task t of d is tried again"
    assert asked.text == "Go on?\n1000 samples\nrun: r1\nhttp://x/answer"


def test_deadline_of_the_template_is_told_as_the_triggerer_calls_it(received: Received) -> None:
    dag = DagBag(str(DAGS / "templates" / "deadline_dag.py")).dags["template-deadline"]
    (alert,) = dag.deadline
    context = {
        "dag_run": {"dag_id": "template-deadline", "dag_run_id": "late"},
        "deadline": {"id": "x", "deadline_time": datetime.now(UTC)},
    }

    async def call() -> list[str]:
        trigger = CallbackTrigger(alert.callback.path, {**alert.callback.kwargs, "context": context})
        return [event.payload["state"] async for event in trigger.run()]

    assert asyncio.run(call()) == ["running", "success"]
    assert received.posts_of("late") == ["DAG template-deadline missed its deadline"] == received.mails_of("late")


def master_context(**params: object) -> Any:
    paused = {"shown": False, "paused": True}

    def get_dag(dag_id: str) -> object:
        if dag_id not in paused:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR))
        return SimpleNamespace(is_paused=paused[dag_id])

    task = SimpleNamespace(retries=2)
    names = {"dag_id": "m", "run_id": "manual__1", "task_id": "t", "map_index": -1}
    return {"params": params, "ti": SimpleNamespace(task=task, max_tries=2, get_dag=get_dag, **names)}


def operator(run_dag_id: str = "shown", **kwargs: Any) -> DagOperator:
    return DagOperator(task_id="t", run_dag_id=run_dag_id, **kwargs)


def test_condition_that_holds_hands_on_its_message() -> None:
    context = master_context(condition_param=True, message="Hii there!!")

    order = operator(conf={"rows": 3}, python_callable=conditionally_trigger).order(context)

    assert (order.payload, order.run_id) == ({"rows": 3, "message": "Hii there!!"}, "m__manual__1__t")


def test_condition_that_does_not_hold_skips_the_task() -> None:
    context = master_context(condition_param=False, message="x")

    with pytest.raises(AirflowSkipException, match="shown is not started: the condition says no"):
        operator(python_callable=conditionally_trigger).execute(context)


def test_condition_that_returns_something_else_is_named() -> None:
    def wrong(*_: object) -> bool:
        return True

    with pytest.raises(AirflowFailException, match="wrong returned True; return the order it was given, or None"):
        operator(python_callable=wrong).execute(master_context())


@pytest.mark.parametrize(
    ("dag_id", "words"),
    [
        pytest.param("paused", "paused is paused; switch it on, then clear this task", id="paused"),
        pytest.param("nowhere", "there is no DAG nowhere; correct `run_dag_id`", id="missing"),
    ],
)
def test_dag_that_cannot_run_is_not_waited_for(dag_id: str, words: str) -> None:
    with pytest.raises(AirflowFailException, match=words):
        operator(dag_id).check_target(master_context())


def test_retry_orders_the_same_run_and_a_cleared_task_another_one() -> None:
    first, retried, cleared = master_context(), master_context(), master_context()
    retried["ti"].try_number = 2
    cleared["ti"].max_tries = 5

    ids = [ordered_run_id(context) for context in (first, retried, cleared)]

    assert ids == ["m__manual__1__t", "m__manual__1__t", "m__manual__1__t__3"]


def test_retry_waits_for_the_run_that_is_there() -> None:
    context, pushed = master_context(), {}
    context["ti"].get_dr_count = lambda **_: 1
    context["ti"].xcom_push = lambda key, value: pushed.update({key: value})
    context["ti"].get_dag = lambda _: SimpleNamespace(is_paused=False)

    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context)

    assert deferred.value.trigger.serialize()[1]["run_ids"] == ["m__manual__1__t"]
    assert pushed == {"trigger_run_id": "m__manual__1__t"}


def test_end_of_the_other_dag_is_the_end_of_the_task() -> None:
    event = ("trigger", {"run_ids": ["r"], "r": "success"})

    assert operator().execute_complete({}, event) == {"dag_id": "shown", "run_id": "r", "state": "success"}
    with pytest.raises(AirflowFailException, match="shown failed; its run r says why"):
        operator().execute_complete({}, ("trigger", {"run_ids": ["r"], "r": "failed"}))


def test_order_starts_without_a_payload() -> None:
    assert DagRunOrder("r").payload == {}


def write(folder: Path, *lines: str) -> Path:
    path = folder / "factory.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_datasets_are_read_in_their_order(tmp_path: Path) -> None:
    entry = "{name: %s, values: [1, 2], steps: [double, total]}"
    path = write(tmp_path, "datasets:", f"  - {entry % 'b'}", f"  - {entry % 'a'}")

    found = read_datasets(path, STEPS)

    assert [(one.name, one.description, one.values, one.steps) for one in found] == [
        ("b", None, [1, 2], ["double", "total"]),
        ("a", None, [1, 2], ["double", "total"]),
    ]


def test_every_mistake_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        *("datasets:", "  - name: Sales", "    values: [1, x]", "    steps:", "      - double", "      - totl"),
        *("  - name: a", "    values: [1]", "    steps: [total]", "    stpes: []"),
        *(
            "  - name: b",
            "    values: [1]",
            "    steps: [total]",
            "  - name: b",
            "    values: [1]",
            "    steps: [total]",
        ),
    )

    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        read_datasets(path, STEPS)

    assert str(raised.value).splitlines() == [
        "factory.yaml line 2: a dataset needs a `name` of small letters, digits and _",
        "factory.yaml line 3: `values` is a list of whole numbers, such as [3, 9]",
        "factory.yaml line 6: there is no step `totl`; write one of double, total",
        "factory.yaml line 10: `stpes` is not known; write one of name, description, values, steps",
        "factory.yaml line 14: there is a dataset `b` already; give this one a name",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("datasets:\n  - name: [", "line 3: this cannot be read as YAML", id="broken"),
        pytest.param("datasets: []", "line 1: there is no list `datasets`", id="empty list"),
        pytest.param("", "line 1: there is no list `datasets`", id="empty file"),
        pytest.param("datasets:\n  - name: !!python/name:os.system x", "line 2: ", id="object of Python"),
    ],
)
def test_file_that_is_no_list_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_datasets(write(tmp_path, text), STEPS)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secrets.yaml", "a/../../b"])
def test_file_outside_data_is_not_waited_for(name: str) -> None:
    with pytest.raises(ValueError, match="only a name below data/ can be waited for"):
        _ = DataFileSensor(task_id="wait", filepath=name).path


def test_file_is_looked_for_in_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert DataFileSensor(task_id="wait", filepath="a/*.csv").path == "/opt/airflow/data/a/*.csv"

    monkeypatch.setenv("WINDROSE_EMBEDDED", str(tmp_path / ".windrose" / "embedded"))
    assert data_folder() == tmp_path / "data"


def test_table_has_a_column_for_each_key() -> None:
    rows = [{"word": "red", "letters": 3}, {"word": "yellow", "letters": 6}]

    assert format_table(rows).splitlines() == ["word    letters", "red     3", "yellow  6"]
    assert format_table([]) == "(no rows)"
