"""Who is told when something went wrong? One place for mail and webhook, for tasks, DAGs and deadlines.

The two connections come from secrets.yaml: an `smtp` platform for mail, an `http` one for a chat's incoming webhook.
Nothing that goes wrong here makes anything fail: a run must not end otherwise because a mail server is down.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseHook, BaseNotifier, Connection, conf
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret, redact  # type: ignore[attr-defined]
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from jinja2 import Environment

MAIL = "notify-mail"
WEBHOOK = "notify-webhook"
HOW = "describe it in secrets.yaml (docs/templates.md shows how) and run `make connections`"
SHORT = 8  # letters of a path that tells nothing, such as /hook
TIMEOUT_SECONDS = 10  # the DAG processor kills what takes 50 s, and a DAG's own callback runs there


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told."""

    subject: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return all of it."""
        return "\n".join((self.subject, *self.lines))


class Notifier(BaseNotifier):
    """Tell people by mail and webhook what happened: for `on_failure_callback`, `on_retry_callback` and deadlines.

    :param mail: connection id of the mail server; "" sends no mail
    :param webhook: connection id of the webhook; "" calls none
    :param to: who gets the mail; without it `to` of the connection's extra, else its sender
    """

    def __init__(
        self,
        *,
        mail: str = MAIL,
        webhook: str = WEBHOOK,
        to: Sequence[str] | str = (),
        context: Context | None = None,  # of a deadline, whose callback is made when it is called
    ) -> None:
        super().__init__(context)
        self.mail, self.webhook, self.to = mail, webhook, to

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Leave everything as it is: nothing is a template, and what `dag.test()` passes could not render one."""

    def notify(self, context: Context) -> None:
        """Send one message each way; the log says what it was and what became of it."""
        message = message_of(context)
        self.log.info(message.text)
        # The webhook first: a mail server that does not answer may use up the time there is.
        self.deliver("webhook", self.webhook, lambda connection: call_webhook(connection, message))
        self.deliver("mail", self.mail, lambda connection: send_mail(connection, message, self.to))

    async def async_notify(self, context: Context) -> None:
        """Do the same in the triggerer, in a thread: what waits for a server must not keep all triggers waiting."""
        await sync_to_async(self.notify, thread_sensitive=False)(context)

    def deliver(self, what: str, conn_id: str, send: Callable[[Connection], str]) -> None:
        """Send one way, if there is one."""
        if not conn_id:
            return
        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            self.log.warning("no %s was sent: there is no connection %s; %s.", what, conn_id, HOW)
            return
        address = urlsplit(connection.host or "")
        if address.scheme and len(address.path) > SHORT:
            mask_secret(address.path)  # of a chat's webhook, the path is the password
        try:
            self.log.info("sent a %s %s", what, send(connection))
        except Exception as error:  # whatever a server or a library comes up with
            reason = redact(str(error) or type(error).__name__)
            where = address.hostname or connection.host
            self.log.warning("no %s was sent: %s at %s: %s", what, conn_id, where, reason)


def call_webhook(connection: Connection, message: Message) -> str:
    """Post the text as chats take it (Slack, Mattermost, Rocket.Chat); return to where."""
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(http_conn_id=connection.conn_id)
    hook.run(json={"text": message.text}, extra_options={"timeout": TIMEOUT_SECONDS})
    return f"through {connection.conn_id}"


def send_mail(connection: Connection, message: Message, to: Sequence[str] | str = ()) -> str:
    """Send the text as a mail; return to whom."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    extra = connection.extra_dejson
    sender = extra.get("from_email") or connection.login
    whom = to or extra.get("to") or sender
    if not whom:
        raise ValueError("it says neither `from_email` nor `to`; add both to the platform in secrets.yaml")
    recipients = [whom] if isinstance(whom, str) else list(whom)
    with SmtpHook(smtp_conn_id=connection.conn_id) as hook:
        body = f"<pre>{html.escape(message.text)}</pre>"
        hook.send_email_smtp(to=recipients, subject=message.subject, html_content=body, from_email=sender)
    return f"to {', '.join(recipients)}"


def message_of(context: Mapping[str, Any]) -> Message:
    """Say in words what a callback was called for: a deadline, a DAG, a question to people, or a task."""
    if "deadline" in context:
        return deadline_message(context["dag_run"], context["deadline"])
    if "reason" in context:
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        lines = (f"reason: {context['reason']}", f"run: {run_id}", run_address(dag_id, run_id))
        return Message(f"DAG {dag_id} failed", lines)
    ti, task = context["ti"], context["task"]
    if "exception" not in context and hasattr(task, "generate_link_to_ui"):
        address = task.generate_link_to_ui(task_instance=ti, base_url=base_url())
        return Message(task.subject, (task.body or "", f"run: {ti.run_id}", address))
    error = context.get("exception")
    cause = redact(f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "unknown"))
    lines = (f"cause: {cause}", f"run: {ti.run_id}, try {ti.try_number}", ti.log_url)
    what = "is tried again" if ti.state == "up_for_retry" else "failed"
    return Message(f"task {ti.task_id} of {ti.dag_id} {what}", lines)


def deadline_message(dag_run: Mapping[str, Any], deadline: Mapping[str, Any]) -> Message:
    """Say which run is late."""
    dag_id, run_id = dag_run["dag_id"], dag_run["dag_run_id"]
    when = f"it should have ended at {deadline['deadline_time']:%Y-%m-%d %H:%M:%S %Z}".rstrip()
    return Message(f"DAG {dag_id} missed its deadline", (when, f"run: {run_id}", run_address(dag_id, run_id)))


def run_address(dag_id: str, run_id: str) -> str:
    """Return the address of a run's page."""
    return f"{base_url()}/dags/{dag_id}/runs/{quote(run_id)}"


def base_url() -> str:
    """Return where the web page is."""
    return str(conf.get("api", "base_url", fallback="") or "http://localhost:8080/").rstrip("/")
