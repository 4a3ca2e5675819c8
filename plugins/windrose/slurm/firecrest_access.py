"""Who are we for FirecREST, and with which token? From a connection, or from a task's own environment."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from windrose.slurm.model import AccessError, ClusterError

SECONDS = 60.0  # for an answer
LEFT = 60.0  # seconds that a token must still be good: servers refuse those that end within half a minute
LONGEST = 300  # of what a server says
# As the tutorials of FirecREST call them; read where the task runs, never where its DAG is read.
ID, SECRET, TOKEN_URL, URL = "FIRECREST_CLIENT_ID", "FIRECREST_CLIENT_SECRET", "AUTH_TOKEN_URL", "FIRECREST_URL"  # noqa: S105 - names of variables


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and who asks; a secret in it never shows itself."""

    url: str
    system: str
    token_url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    token_file: str = ""
    scope: str = ""

    @property
    def mend(self) -> str:
        """Return what a person does about a refused token."""
        if self.token_file:
            return f"put a new one into {Path(self.token_file).name}: it is read again at each use"
        return "check `client_id`, `client_secret` and `scope` in secrets.yaml, and whether the client is still valid"


def access_of(connection: Any, environment: Mapping[str, str] | None = None, *, system: str = "") -> Access:  # noqa: ANN401 - Airflow's connection, or None
    """Return who we are: what the connection says, and the rest from the environment of the task."""
    own = os.environ if environment is None else environment
    # One of another type says where its SSH server is, and who logs in there.
    connection = connection if connection is not None and connection.conn_type == "firecrest" else None
    extra: Mapping[str, Any] = {} if connection is None else connection.extra_dejson
    url = (connection.host if connection is not None else "") or own.get(URL, "")
    is_told = connection is not None and bool(connection.login and connection.password)
    access = Access(
        url=url.rstrip("/"),
        system=str(extra.get("system", "")) or system,
        token_url=str(extra.get("token_url", "")) or own.get(TOKEN_URL, ""),
        # Both halves come from one place: those of two clients fit nowhere.
        client_id=connection.login if is_told else own.get(ID, ""),
        client_secret=connection.password if is_told else own.get(SECRET, ""),
        token_file=str(extra.get("token_file", "")),
        scope=str(extra.get("scope", "")),
    )
    check(access, allow_http=extra.get("allow_http") is True)
    return access


def check(access: Access, *, allow_http: bool = False) -> None:
    """Raise where something is missing, or would cross a network in the clear."""
    wanted = [("address", URL, access.url), ("system", "", access.system)]
    if not access.token_file:
        wanted += [
            ("token_url", TOKEN_URL, access.token_url),
            ("client_id", ID, access.client_id),
            ("client_secret", SECRET, access.client_secret),
        ]
    missing = [f"`{name}`" + (f" ({variable})" if variable else "") for name, variable, value in wanted if not value]
    if missing:
        raise AccessError(
            f"FirecREST needs {', '.join(missing)}: describe the platform in secrets.yaml, or set the variables where "
            f"the task runs."
        )
    for url in (access.url, access.token_url):
        if url and not is_safe(url) and not allow_http:
            raise AccessError(f"{url} would send our token in the clear; write https://.")


def is_safe(url: str) -> bool:
    """Say whether nobody on the way can read along: TLS, or a way that does not leave this machine."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        return parts.scheme == "https" or (
            parts.scheme == "http" and (name == "localhost" or ipaddress.ip_address(name).is_loopback)
        )
    except ValueError:
        return False


class Tokens:
    """Gives the token for each request: from a file, read again each time, or fetched and kept while it is good."""

    def __init__(self, access: Access) -> None:
        """Take who we are; nothing is fetched yet."""
        self.access = access
        self.token, self.ends = "", 0.0
        self.in_header = False  # whether the token server wants the secret in a header
        self.lock = asyncio.Lock()
        self.session: httpx.AsyncClient | None = None

    async def auth_headers(self) -> dict[str, str]:
        """Return what pyfirecrest sends with a request."""
        return {"Authorization": f"Bearer {await self.current()}"}

    async def current(self) -> str:
        """Return a token that is good for a while."""
        if self.access.token_file:
            return read_token(self.access.token_file)
        async with self.lock:
            if not self.token or time.monotonic() > self.ends:
                await self.fetch()
            return self.token

    def forget(self) -> None:
        """Fetch a new one next time."""
        self.token = ""

    async def fetch(self) -> None:
        """Ask the token server; some take a client's secret in the form, some in a header alone."""
        answer = await self.post()
        if answer.status_code in (400, 401) and "invalid_client" in answer.text and not self.in_header:
            self.in_header = True
            answer = await self.post()
            self.in_header = answer.is_success
        name = urlsplit(self.access.token_url).hostname
        if answer.status_code in (400, 401, 403):
            raise AccessError(f"{name} gives this client no token ({said_in(answer)}); {self.access.mend}.")
        if not answer.is_success:
            raise ClusterError(f"{name}, which gives out tokens, answers {answer.status_code}.")
        try:
            found = answer.json()
            self.token, life = str(found["access_token"]), float(found.get("expires_in", LEFT * 5))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ClusterError(f"{name} answers, but with no token; check `token_url`.") from None
        self.ends = time.monotonic() + max(life - LEFT, life / 5)

    async def post(self) -> httpx.Response:
        """Send the client's credentials."""
        if self.session is None:
            self.session = httpx.AsyncClient(timeout=SECONDS / 2)
        access = self.access
        auth: Any = httpx.USE_CLIENT_DEFAULT
        form = {"grant_type": "client_credentials", **({"scope": access.scope} if access.scope else {})}
        if self.in_header:
            auth = httpx.BasicAuth(access.client_id, access.client_secret)
        else:
            form |= {"client_id": access.client_id, "client_secret": access.client_secret}
        try:
            return await self.session.post(access.token_url, data=form, auth=auth)
        except httpx.HTTPError as error:
            name = urlsplit(access.token_url).hostname
            reason = told(str(error)) or type(error).__name__
            raise ClusterError(f"{name}, which gives out tokens, cannot be reached ({reason}).") from None

    async def close(self) -> None:
        """Let go of the connection."""
        if self.session is not None:
            await self.session.aclose()


def read_token(path: str) -> str:
    """Return the token that a file holds now."""
    name = Path(path).name
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise AccessError(f"{name}: the file with the token is not there; put a token into it.") from None
    except (OSError, ValueError):
        raise AccessError(f"{name}: the file with the token cannot be read; put a token of one line into it.") from None
    if not token or not token.isprintable() or " " in token:
        raise AccessError(f"{name} holds no token; put one of one line into it.")
    return token


def token_ends(token: str) -> datetime | None:
    """Return when a token ends; None where it does not say. Nobody checks here whether what it says is true."""
    try:
        body = token.split(".")[1]
        return datetime.fromtimestamp(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"], UTC)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def said_in(answer: httpx.Response) -> str:
    """Return what a token server says: its own words for what is wrong, never what we sent."""
    try:
        found = answer.json()
        words = f"{found.get('error', '')} {found.get('error_description', '')}".strip()
    except (ValueError, AttributeError):
        words = ""
    return told(words) or str(answer.status_code)


def told(text: str) -> str:
    """Return what somebody else says as part of a sentence: one line, not long, nothing that is no sign."""
    clean = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(clean.split())[:LONGEST].rstrip(".")
