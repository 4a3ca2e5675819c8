"""How a program talks to Airflow's REST API: the login and its renewal, pages, and errors told in a sentence."""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from scripts.errors import KitError

if TYPE_CHECKING:
    # The client takes most of a second to import: only who asks the API pays for it.
    from airflow_client.client import ApiClient, ApiException, Configuration, TaskInstanceApi
    from urllib3 import HTTPResponse

Api = TypeVar("Api")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
LOG = logging.getLogger("scripts.airflow_api")
OK, CREATED = 200, 201
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY = 401, 403, 404, 429
NOT_OURS = "Invalid JWT token"  # said with FORBIDDEN
LOGIN_SECONDS = 30
ANSWER_SECONDS = (10.0, 60.0)  # to connect, and between two pieces of an answer; the client itself waits for ever
NOT_MAPPED = -1  # as the index of a task
PAGE = 100  # the server's maximum_page_limit: it hands out no more at once
SERVER_FAULT = "see `make logs SERVICE=airflow-apiserver`"


class ApiError(KitError):
    """Airflow's REST API did not do what it was asked; `status` is its HTTP status, 0 where nothing answered."""

    def __init__(self, where: str, problem: str, fix: str, *, status: int = 0) -> None:
        super().__init__(where, problem, fix)
        self.status = status


def log_in(host: str, username: str, password: str) -> str:
    """Return a token for the API."""
    body = json.dumps({"username": username, "password": password}).encode()
    try:
        request = urllib.request.Request(  # noqa: S310 - the address is the caller's own setting
            f"{host.rstrip('/')}/auth/token", data=body, headers={"Content-Type": "application/json"}
        )
        # A proxy of the environment must not see the password of a server on this machine.
        handlers = [urllib.request.ProxyHandler({})] if is_this_machine(host) else []
        with urllib.request.build_opener(*handlers).open(request, timeout=LOGIN_SECONDS) as answer:
            if answer.status != CREATED:
                raise ValueError(f"status {answer.status}")
            return str(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        with error:
            raise refused(host, error.code, error.read().decode("utf-8", "replace")) from None
    except OSError as error:
        raise silent(host, getattr(error, "reason", error)) from None
    except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        # What it said may be anything, a page of another program for example: it stays out of the message.
        problem = "something answers that is not Airflow's login"
        raise ApiError(f"Airflow at {host}", problem, "check address and port") from error


def is_this_machine(host: str) -> bool:
    """Say whether an address leads to this machine itself."""
    name = urlsplit(host).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def configure(host: str, username: str, password: str) -> Configuration:
    """Return a configuration of the client that can log in by itself, again and again; it has no token yet."""
    from airflow_client.client import Configuration

    # An empty proxy is none; nothing at all would be the proxy of the environment.
    configuration = Configuration(host=host.rstrip("/"), proxy="" if is_this_machine(host) else None)
    # In a closure, the password is in no field that a log, a repr or vars() would show.
    configuration.airflow_log_in = lambda: log_in(host, username, password)
    return configuration


def renew(configuration: Configuration) -> bool:
    """Log in anew; False where the configuration is one that cannot."""
    log_in_again = getattr(configuration, "airflow_log_in", None)
    if log_in_again is None:
        return False
    configuration.access_token = log_in_again()
    return True


def ask(
    configuration: Configuration, api: Callable[[ApiClient], Api], question: Callable[[Api], Answer], where: str
) -> Answer:
    """Put a question to one of the client's APIs; a token that is no longer accepted is renewed, once."""
    from airflow_client.client import ApiException
    from airflow_client.client.exceptions import OpenApiException
    from urllib3.exceptions import HTTPError

    try:
        try:
            return question(api(new_client(configuration)))
        except ApiException as error:
            if not is_token_refused(error) or not renew(configuration):
                raise
            return question(api(new_client(configuration)))
    except ApiException as error:
        raise told(configuration.host, where, error) from error
    except (HTTPError, OSError) as error:
        raise silent(configuration.host, error) from error
    except (OpenApiException, ValueError) as error:
        raise misread(where, error) from error


def is_token_refused(error: ApiException) -> bool:
    """Say whether it is the token that was not accepted: one that has expired, or one from before new secrets."""
    return error.status == UNAUTHORIZED or (error.status == FORBIDDEN and body_of(error) == NOT_OURS)


def new_client(configuration: Configuration) -> ApiClient:
    """Return a client that gives up on a server that hangs."""
    from airflow_client.client import ApiClient

    class PatientClient(ApiClient):
        """The client, with a bound on waiting."""

        def call_api(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            """Ask as the client does."""
            options["_request_timeout"] = options.get("_request_timeout") or ANSWER_SECONDS
            return super().call_api(*arguments, **options)

    return PatientClient(configuration)


def pages(ask_page: Callable[[int, int], tuple[Sequence[Item], int | None]], limit: int | None) -> list[Item]:
    """Collect `limit` items, or all with None; `ask_page` takes how many and from where, and knows the total."""
    found: list[Item] = []
    while limit is None or len(found) < limit:
        items, total = ask_page(PAGE if limit is None else min(PAGE, limit - len(found)), len(found))
        found += items
        if not items or (total is not None and len(found) >= total):
            break
    return found


def log_events(
    configuration: Configuration, place: tuple[str, str, str], try_number: int, map_index: int = NOT_MAPPED
) -> Iterator[dict[str, Any]]:
    """Hand over what a try of a task (`place` is DAG, run and task) has logged, an event at a time.

    It is read as it arrives: a log may be larger than memory.
    """
    from airflow_client.client import ApiException, TaskInstanceApi

    dag_id, run_id, task_id = place

    def question(api: TaskInstanceApi) -> HTTPResponse:
        answer = api.get_log_without_preload_content(
            dag_id,
            run_id,
            task_id,
            try_number,
            full_content=True,
            map_index=map_index,
            _headers={"Accept": "application/x-ndjson"},
        )
        if answer.status != OK:
            body = answer.read().decode("utf-8", "replace")
            raise ApiException(status=answer.status, reason=answer.reason, body=body)
        return answer

    answer = ask(configuration, TaskInstanceApi, question, f"{dag_id} {task_id} try {try_number}")
    yield from read_lines(answer)


def read_lines(answer: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Hand over the objects of an answer with one in each line."""
    from urllib3.exceptions import HTTPError

    try:
        for line in answer:
            if line.strip():
                event = json.loads(line)
                yield event if isinstance(event, dict) else {"event": str(event)}
    except (HTTPError, OSError, ValueError) as error:
        raise ApiError("Airflow", "broke off in the middle of a log", "run it again, or see `make status`") from error
    finally:
        answer.release_conn()


def told(host: str, where: str, error: ApiException) -> ApiError:
    """Return what the client was answered, as a sentence."""
    if not error.status:
        return silent(host, error.reason)
    if error.status == TOO_MANY or is_token_refused(error):
        return refused(host, error.status, str(error.body))
    said = body_of(error) or str(error.reason or f"status {error.status}")
    if error.status == FORBIDDEN:
        fix = "use an account whose role may do it"
    elif error.status == NOT_FOUND:
        fix = "look up the name with `make dags` or `make runs`"
    elif error.status >= 500:
        fix = SERVER_FAULT
    else:
        fix = "change what you ask for"
    return ApiError(where, said, fix, status=error.status)


def refused(host: str, status: int, body: str) -> ApiError:
    """Return why a login did not work."""
    where = f"Airflow at {host}"
    if status == TOO_MANY:
        return ApiError(where, "too many wrong passwords", detail(body) or "wait a minute and try again", status=status)
    if status >= 500:
        return ApiError(where, f"the login failed inside Airflow (status {status})", SERVER_FAULT, status=status)
    fix = "give the user and the password that `make credentials` shows, or those of another account"
    return ApiError(where, f"does not accept the login (status {status})", fix, status=status)


def silent(host: str, reason: object) -> ApiError:
    """Return that nothing answers."""
    # Both libraries put a request and numbers around what went wrong.
    said = re.sub(r"^.*\[Errno -?\d+\] |^\w+\(.*?\): ", "", str(getattr(reason, "reason", None) or reason))
    return ApiError(f"Airflow at {host}", f"does not answer ({said[:200]})", "see `make status`")


def misread(where: str, error: Exception) -> ApiError:
    """Return what about an argument or an answer the client could not read, without the value: it may be secret."""
    errors = getattr(error, "errors", None)
    places = [".".join(map(str, one["loc"])) + f" ({one['msg']})" for one in errors()] if callable(errors) else []
    problem = places[0] if places else (str(error).splitlines() or [type(error).__name__])[0][:200]
    fix = "check the arguments, and that apache-airflow-client is of the server's release"
    return ApiError(where, f"cannot be asked or read: {problem}", fix)


def body_of(error: ApiException) -> str:
    """Return what the server says in the body of a refusal."""
    return detail(error.body) if isinstance(error.body, str) else ""


def detail(body: str) -> str:
    """Return what the server says in the body of an error, on one line; '' where it says nothing."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    said = said.get("detail", said) if isinstance(said, dict) else said
    if isinstance(said, list):
        said = "; ".join(one_detail(one) for one in said)
    elif isinstance(said, dict):
        said = said.get("message") or said.get("reason") or ""
    # A schema's refusal goes on with the whole schema, after an empty line.
    return " ".join(str(said).partition("\n\n")[0].split()).rstrip(".")[:500]


def one_detail(one: Any) -> str:  # noqa: ANN401
    """Return one of several findings of the server, by place and message."""
    if not isinstance(one, dict):
        return str(one)
    place = ".".join(str(part) for part in one.get("loc", []) if part not in ("body", "query", "path"))
    return f"{place}: {one.get('msg', '')}" if place else str(one.get("msg", ""))
