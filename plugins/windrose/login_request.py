"""What does a login look like on the wire? The routes, the account name in the body, and what an answer means."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

LARGEST_BODY = 64 * 1024
LONGEST_NAME = 256
SESSION_COOKIE = "session"
PLAIN_COOKIE = re.compile(r"[A-Za-z0-9_.\-]+")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class LoginKind(StrEnum):
    """The two ways in."""

    FORM = "form"
    TOKEN = "token"  # noqa: S105 - a route, not a secret


class Outcome(StrEnum):
    """What an attempt told us about the password."""

    RIGHT = "right"
    WRONG = "wrong"
    NOT_TRIED = "not tried"


ROUTES = {
    "/auth/login": LoginKind.FORM,
    "/auth/token": LoginKind.TOKEN,
    "/auth/token/cli": LoginKind.TOKEN,
}


class Refused(Exception):
    """A login that Airflow need not see: the HTTP status and the sentence to answer with."""

    def __init__(self, status: int, sentence: str) -> None:
        """Keep what to answer."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ClientGone(Exception):
    """The client hung up before the whole request was here."""


def login_kind(scope: Scope) -> LoginKind | None:
    """Say whether a request carries a password, and in which form."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return ROUTES.get(route_path(scope["path"], scope.get("root_path", "")))


def route_path(path: str, root_path: str) -> str:
    """Return the path below `[api] base_url`, as the router sees it, without slashes that it ignores."""
    if root_path and path.startswith(f"{root_path.rstrip('/')}/"):
        path = path[len(root_path.rstrip("/")) :]
    # The form also answers to /auth//login/.
    return re.sub("/+", "/", path).rstrip("/")


async def read_body(receive: Receive) -> bytes:
    """Read the whole body, which for a login is short."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > LARGEST_BODY:
            raise Refused(413, f"A login is never larger than {LARGEST_BODY // 1024} KiB.")
        if not message.get("more_body", False):
            return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, and then what comes after it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def account_name(kind: LoginKind, scope: Scope, body: bytes) -> str:
    """Return the name somebody logs in with, in the form in which Airflow compares it: without case.

    A body without a name is an account of its own, "": Airflow refuses it without trying a password.
    """
    name = form_name(scope, body) if kind is LoginKind.FORM else token_name(body)
    return name.casefold()[:LONGEST_NAME]


def form_name(scope: Scope, body: bytes) -> str:
    """Return the field `username` of the form; the first one, as Airflow does."""
    content_type = b"".join(header_values(scope["headers"], b"content-type")).split(b";")[0].strip().lower()
    if content_type != b"application/x-www-form-urlencoded":
        # Airflow would read multipart too, and there the name could hide from us.
        raise Refused(415, "Log in with the form of the login page.")
    # Pairs are split at "&" alone and without a limit, as Airflow does.
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return fields.get("username", [""])[0]


def token_name(body: bytes) -> str:
    """Return the member `username` of the JSON body; the last one, as Airflow does."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    name = document.get("username") if isinstance(document, dict) else None
    return name if isinstance(name, str) else ""


def outcome_of(kind: LoginKind, scope: Scope, start: Message) -> Outcome:
    """Read from the start of an answer whether the password was right.

    Token: 201 or 401; 400 and 422 mean that it was not tried. Form: both end in a redirect, a wrong password back to
    the form, a right one elsewhere and with a new session. The same session as before means that somebody already
    logged in was sent on without a look at the password, and that says nothing about the name in the form.
    """
    status: int = start["status"]
    if kind is LoginKind.TOKEN:
        return {201: Outcome.RIGHT, 401: Outcome.WRONG}.get(status, Outcome.NOT_TRIED)
    if status != 302:
        return Outcome.NOT_TRIED
    location = b"".join(header_values(start.get("headers", []), b"location")).decode("latin-1")
    if urlsplit(location).path.rstrip("/").endswith("/auth/login"):
        return Outcome.WRONG
    return Outcome.RIGHT if is_new_session(scope, start) else Outcome.NOT_TRIED


def is_new_session(scope: Scope, start: Message) -> bool:
    """Say whether an answer starts a session that the request did not bring along."""
    brought = cookie_values(header_values(scope["headers"], b"cookie"))
    given = cookie_values([value.split(b";")[0] for value in header_values(start.get("headers", []), b"set-cookie")])
    # A cookie spelled with quotes and escapes could be the same session in disguise.
    if not given or not all(PLAIN_COOKIE.fullmatch(value) for value in brought):
        return False
    return {value.split(".")[0] for value in given}.isdisjoint(value.split(".")[0] for value in brought)


def cookie_values(headers: list[bytes]) -> list[str]:
    """Return every value of the session cookie."""
    pairs = [pair.strip().partition("=") for header in headers for pair in header.decode("latin-1").split(";")]
    return [value for name, _, value in pairs if name.strip() == SESSION_COOKIE]


def header_values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return every value of a header."""
    return [value for key, value in headers if key.lower() == name]


async def answer(send: Send, kind: LoginKind, status: int, sentence: str, *, wait: float = 0.0) -> None:
    """Answer in place of Airflow: plain text to the form, JSON to a program."""
    if kind is LoginKind.TOKEN:
        content_type, body = b"application/json", json.dumps({"detail": sentence}).encode()
    else:
        content_type, body = b"text/plain; charset=utf-8", f"{sentence}\n".encode()
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if wait > 0:
        headers.append((b"retry-after", str(math.ceil(wait)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
