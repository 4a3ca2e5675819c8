"""FirecREST as a client sees it: who we are there, one request at a time, and what an answer that is no answer means.

Above pyfirecrest's asynchronous client of its second version lie our own patience, tokens and errors: its own wait for
ever by default, and read a token over a blocking connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from firecrest.FirecrestException import FirecrestException, NotImplementedOnAPIversion
from firecrest.v2 import AsyncFirecrest

from windrose.slurm.firecrest_access import SECONDS, Access, Tokens, told
from windrose.slurm.model import AccessError, ClusterError

REQUESTS = 4  # on their way at a time
LONGEST_WAIT = 60.0  # for a server that asks us to come back later, in one call; then the caller waits
LONGEST_HINT = 3600.0  # whatever it says, it is asked again after so long
NO_HINT = 10.0  # seconds, where it does not say how long
WINDOW = "7d"  # how far back a search for a job goes; servers that know no window look back as far
Result = TypeVar("Result")


class Failed(ClusterError):
    """An answer that is none: its number, 0 where nothing came, what the server says, how long to leave it alone."""

    def __init__(
        self, message: str, *, status: int = 0, says: str = "", is_sent: bool = True, seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status, self.says, self.is_sent, self.seconds = status, says, is_sent, seconds


class NotThere(Failed):
    """A file, a folder or a job that does not exist."""


class Exists(Failed):
    """A folder that was there before."""


class Client(AsyncFirecrest):
    """The client of pyfirecrest, and requests that it knows only with a file of ours in between, or not at all."""

    async def jobs(self, system: str, window: str = "") -> list[dict[str, Any]]:
        """Return the jobs of this login; servers that know no window ignore it."""
        params = {"time_window": window} if window else {}
        answer = await self._get_request(endpoint=f"/compute/{system}/jobs", params=params)
        return self._check_response(answer, 200)["jobs"] or []

    async def piece(self, system: str, path: str, offset: int, size: int) -> str:
        """Return a piece of a file as the server reads it: as text, by blocks of this size."""
        params = {"path": path, "offset": offset, "size": size}
        answer = await self._get_request(endpoint=f"/filesystem/{system}/ops/view", params=params)
        return str(self._check_response(answer, 200)["output"])

    async def put(self, system: str, folder: str, name: str, data: bytes) -> None:
        """Write a small file."""
        answer = await self._post_request(
            endpoint=f"/filesystem/{system}/ops/upload", params={"path": folder}, files={"file": (name, data)}
        )
        self._check_response(answer, 204)

    async def get(self, system: str, path: str) -> bytes:
        """Return a small file, byte by byte."""
        answer = await self._get_request(endpoint=f"/filesystem/{system}/ops/download", params={"path": path})
        self._check_response(answer, 200, return_json=False)
        return bytes(answer.content)


class Api:
    """One platform behind FirecREST; to be used in one event loop."""

    def __init__(self, access: Access) -> None:
        """Take who we are there; nothing is sent yet."""
        quiet()
        self.access, self.tokens = access, Tokens(access)
        self.client = Client(access.url, authorization=self.tokens)
        self.client.timeout = httpx.Timeout(SECONDS, connect=SECONDS / 4)
        self.client.num_retries_rate_limit = 0
        self.client.disable_client_logging = True
        self.slots = asyncio.Semaphore(REQUESTS)
        self.not_before = 0.0

    async def ask(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make one request; wait where the server asks for it, and fetch a new token once where it refuses ours."""
        waited, is_renewed = 0.0, False
        while True:
            await self.wait_for_turn()
            try:
                async with self.slots:
                    return await call()
            except FirecrestException as error:
                answer = error.responses[-1]
                if answer.status_code == 401 and not is_renewed:
                    self.tokens.forget()
                    is_renewed = True
                    continue
                if answer.status_code == 429:
                    seconds = retry_after(answer)
                    if waited + seconds <= LONGEST_WAIT:
                        waited += seconds
                        self.not_before = max(self.not_before, asyncio.get_running_loop().time() + seconds)
                        continue
                raise problem_of(answer, self.access) from None
            except httpx.HTTPError as error:
                raise no_answer(error, self.access) from None
            except (ValueError, KeyError, TypeError, AttributeError, NotImplementedOnAPIversion) as error:
                says = f"{host(self.access)} answers, but not as FirecREST 2 does ({type(error).__name__})"
                raise Failed(f"{says}; is `address` of the platform right, with its version such as /v2?") from None

    async def wait_for_turn(self) -> None:
        """Wait while the server wants to be left alone; not all of us come back in the same moment."""
        seconds = self.not_before - asyncio.get_running_loop().time()
        if seconds > 0:
            await asyncio.sleep(seconds + random.uniform(0, seconds / 4))  # noqa: S311 - spreads load

    async def close(self) -> None:
        """Let go of every connection."""
        await self.client.close_session()
        await self.tokens.close()


def quiet() -> None:
    """Keep a line a request out of task logs: some addresses hold a signature that is as good as a password."""
    for name in ("httpx", "httpcore", "firecrest"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


def host(access: Access) -> str:
    """Return how we name the server."""
    return urlsplit(access.url).hostname or access.url


def retry_after(answer: httpx.Response) -> float:
    """Return for how long a server wants to be left alone."""
    headers = answer.headers
    said = headers.get("Retry-After") or headers.get("RateLimit-Reset") or ""
    try:
        return min(max(float(said), 0.1), LONGEST_HINT)
    except ValueError:
        return NO_HINT  # a date: its clock may not be ours


def message_in(answer: httpx.Response) -> str:
    """Return what the server says of an error, in one line."""
    try:
        found = answer.json()
    except ValueError:
        return ""
    said = found.get("message") or found.get("detail") or "" if isinstance(found, dict) else ""
    causes = found.get("causedBy") or found.get("caused_by") or [] if isinstance(found, dict) else []
    return told(" ".join(str(part) for part in (said, *causes)))


def problem_of(answer: httpx.Response, access: Access) -> ClusterError:
    """Return what an answer means."""
    says, status, name = message_in(answer), answer.status_code, host(access)
    quoted = f" ({says})" if says else ""
    if mend := mend_of(status, says, access):
        return AccessError(f"{name}{quoted}: {mend}.")
    if status == 404:
        return NotThere(f"{name}: not found{quoted}.", status=status, says=says)
    if status == 400 and "File exists" in says:
        return Exists(f"{name}: it is there already{quoted}.", status=status, says=says)
    if status == 429:
        wait = f" for {retry_after(answer):.0f} s" if "Retry-After" in answer.headers else ""
        problem = f"{name} gets too many requests, and wants none{wait}."
        return Failed(problem, status=status, says=says, seconds=retry_after(answer))
    if status == 503:
        problem = f"{name} or {access.system} is not available now{quoted}."
        seconds = retry_after(answer) if "Retry-After" in answer.headers else 0.0
        return Failed(problem, status=status, says=says, seconds=seconds)
    return Failed(f"{name} answers {status}{quoted}.", status=status, says=says)


def mend_of(status: int, says: str, access: Access) -> str:
    """Return what somebody has to do before asking again is of any use, '' where that is not so."""
    system = access.system
    if status == 401:
        return f"our token is refused; {access.mend}"
    if status == 403 and "Remote process failed" in says:
        return f"{system} does not let this login write or read there; check `scratch` and the project"
    if status == 403 and "job submission rejected" not in says.lower():
        return f"this client may not use {system}; ask those who gave it to you to allow it"
    if status == 404 and "system not found" in says.lower():
        return f"there is no system {system}; correct `system` in secrets.yaml"
    if status == 400 and "does not match any of the defined filesystem" in says:
        return f"write a folder of the file systems of {system} as `scratch`"
    return ""


def no_answer(error: httpx.HTTPError, access: Access) -> ClusterError:
    """Return what it means that no answer came."""
    name, words = host(access), told(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectError) and "CERTIFICATE" in words.upper():
        return AccessError(f"{name} shows a TLS certificate that is not trusted ({words}); check `address`.")
    is_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if isinstance(error, httpx.TimeoutException):
        return Failed(f"{name} did not answer in time.", is_sent=is_sent)
    return Failed(f"{name} cannot be reached ({words}).", is_sent=is_sent)
