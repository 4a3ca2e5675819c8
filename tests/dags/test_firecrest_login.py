"""Does the hourly check see what is wrong with a platform behind FirecREST? Against a server of ours."""

from __future__ import annotations

import base64
import json
import time

import pytest
from windrose import platform_logins
from windrose.slurm.firecrest_access import token_ends

from tests.dags.firecrest_site import local_site
from tests.firecrest_state import Fault

PLATFORM = {"id": "hpc_api", "type": "firecrest"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    with local_site(tmp_path / "slurm") as (found, _):
        monkeypatch.setenv("AIRFLOW_CONN_HPC_API", found.connection_json())
        yield found


def checked(**how):
    found = platform_logins.check(PLATFORM, hours=how.get("hours"))
    return found.state, found.says


def jwt(ends):
    body = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    return f"x.{body}.y"


def with_token(site, monkeypatch, path, token):
    path.write_text(token + "\n")
    site.state.tokens.add(token)
    said = json.loads(site.connection_json())
    said["extra"] |= {"token_file": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_HPC_API", json.dumps({**said, "login": "", "password": ""}))


def test_token_and_machine_are_asked_for_and_nothing_else(site):
    assert checked() == ("ok", "")
    assert site.state.requests == ["POST /token", "GET /status/systems"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("/token", status=401, body={"error": "invalid_client"}, times=2), "gives this client no token"),
        (Fault("/status/systems", status=403, body={"message": "no"}), "ask those who gave it to you"),
        (Fault("/status/systems", status=503, body={"message": "maintenance"}), "not available now"),
        (Fault("/status/systems", status=200, body={"systems": [{"name": "other"}]}), "it has other"),
        (
            Fault(
                "/status/systems",
                status=200,
                body={"systems": [{"name": "demo", "servicesHealth": [{"serviceType": "ssh", "healthy": False}]}]},
            ),
            "demo is not well: ssh",
        ),
    ],
)
def test_what_is_wrong_fails_with_a_sentence(site, fault, says):
    site.state.faults.append(fault)

    state, said = checked()

    assert state == "failed"
    assert says in said


def test_token_that_ends_soon_is_told_while_it_still_works(site, monkeypatch, tmp_path):
    with_token(site, monkeypatch, tmp_path / "token", jwt(time.time() + 3600))

    state, says = checked()
    enough, _ = checked(hours=0.5)

    assert state == "expiring"
    assert "the token is good for 1.0 h only; put a new one into its file" in says
    assert enough == "ok"


def test_token_that_has_ended_is_told(site, monkeypatch, tmp_path):
    with_token(site, monkeypatch, tmp_path / "token", jwt(time.time() - 60))
    site.state.tokens.clear()

    state, says = checked()

    assert state == "failed"
    assert "the token ended at" in says


def test_token_that_does_not_say_its_end_is_taken_as_it_is(site, monkeypatch, tmp_path):
    with_token(site, monkeypatch, tmp_path / "token", "opaque")

    assert checked() == ("ok", "")
    assert [token_ends(text) for text in ("opaque", "a.b.c", "a.W10.c")] == [None] * 3
