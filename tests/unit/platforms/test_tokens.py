"""A token that a person puts into a file: followed and carried to the tasks as a key is, and never registered."""

from __future__ import annotations

import base64
import json
import time
from functools import partial
from pathlib import Path

import pytest

from scripts.in_airflow.private_key import token_until
from scripts.platforms import key_list, key_states
from scripts.platforms.plan import Key, Phrase, Plan
from tests import ssh_key_support as kit
from tests.keys_support import FOLDER, NO_PHRASE, Stack
from tests.secrets_file_support import Load, Told, load_text, told_of

PLATFORM = "platforms: {x: {y: {type: firecrest, address: 'https://api.example.org/v2', system: lumi, key: k%s}}}\n"
FILE = "connections: {firecrest: {k: {token_file: my/token}}}\n"


def jwt(**claims: object) -> str:
    """Return a token that says when it ends, as FirecREST's do; nobody checks its signature here."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return f"{parts[0]}.{parts[1]}.c2lnbmF0dXJl"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return kit.put(tmp_path / "my/token", b"a-secret-token\n")


def test_connection_says_where_tasks_find_the_token_and_not_what_it_is(load: Load, token_file: Path) -> None:
    plan = load(PLATFORM % "" + FILE)

    assert plan.connections["x-y"] == {
        "conn_type": "firecrest",
        "host": "https://api.example.org/v2",
        "extra": {"token_file": "/run/secrets/k", "system": "lumi"},
        "description": "windrose: from secrets.yaml",
    }
    assert plan.keys == (Key("k", "k", token_file, Phrase("none"), 2, "token"),)
    assert "a-secret-token" not in repr(plan)


def test_token_is_listed_as_what_it_is(load: Load, token_file: Path, tmp_path: Path) -> None:
    plan = load(PLATFORM % "" + FILE)

    listed = key_list.key_list(plan.keys, tmp_path / "secrets.yaml")["keys"]

    assert listed == [{"target": "k", "file": str(token_file), "phrase": {"source": "none"}, "kind": "token"}]
    assert key_list.mounts(plan.keys, tmp_path / "secrets.yaml") == [token_file.parent]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PLATFORM % "" + FILE, "connections.firecrest.k.token_file names a file that does not exist"),
        (
            PLATFORM % "" + "connections: {firecrest: {k: {client_id: a, client_secret: b}}}",
            "platforms.x.y has a client but no token_url; add `token_url`",
        ),
        (
            PLATFORM % "" + "connections: {firecrest: {k: {client_id: a, client_secret: b, token_file: t}}}",
            "gives both client_id and token",
        ),
        (PLATFORM % "" + "connections: {firecrest: {k: {token: a}}}", "did you mean token_file?"),
    ],
)
def test_what_cannot_be_meant_is_told(told: Told, text: str, problem: str) -> None:
    assert problem in told(text)


def test_service_carries_a_token_and_each_new_one(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    end = time.time() + 3600
    kit.put(stack.folder / "token", f"  {jwt(exp=end)}\r\n".encode())
    stack.list_keys({"target": "api", "file": f"{FOLDER}/token", "phrase": NO_PHRASE, "kind": "token"})

    first = stack.wait().state("api")
    found = (stack.secrets / "api").read_text()
    kit.put(stack.folder / "new", b"opaque").rename(stack.folder / "token")
    second = stack.wait().state("api")

    assert (first, found) == (("ready", end, "none"), jwt(exp=end) + "\n")
    assert (second, (stack.secrets / "api").read_text()) == (("ready", None, "none"), "opaque\n")
    assert [path.name for path in stack.secrets.iterdir()] == ["api"]


@pytest.mark.parametrize("data", [b"", b"two words", "\N{SNOWMAN}".encode()])
def test_service_takes_no_token_from_a_file_that_holds_none(tmp_path: Path, data: bytes) -> None:
    stack = Stack(tmp_path)
    kit.put(stack.folder / "token", data)
    stack.list_keys({"target": "api", "file": f"{FOLDER}/token", "phrase": NO_PHRASE, "kind": "token"})

    assert stack.wait().state("api")[0] == "not-a-token"
    assert list(stack.secrets.iterdir()) == []


@pytest.mark.parametrize(
    ("token", "until"),
    [(jwt(exp=5), 5.0), (jwt(), None), ("opaque", None), ("a.b.c", None), ("a.W10.c", None), ("a.\xe4.c", None)],
)
def test_end_of_a_token_is_read_where_it_says_one(token: str, until: float | None) -> None:
    assert token_until(token.encode()) == until


def test_token_that_ends_is_told_with_its_mend() -> None:
    key = Key("k", "k", Path("/somewhere/token"), Phrase("none"), 2, "token")
    plan = Plan({}, {}, {}, (), (key,), (), ())
    now = time.time()

    def said(until: float) -> tuple[list[str], list[str]]:
        states = {"k": {"state": "ready", "certificate": "none", "certificate_until": until}}
        return key_states.problems(plan, states), key_states.notes(plan, states)

    mend = "put a new one into /somewhere/token, it is taken up within seconds."
    assert said(now - 3600) == ([f"key k: its token expired 1.0 h ago; {mend}"], [])
    assert said(now + 1799) == ([], [f"key k: its token ends in 30 min; {mend}"])
