"""Does each error of FirecREST lead to the right thing, and does no secret show itself? Against a server of ours."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace

import pytest
from windrose.slurm import firecrest_client
from windrose.slurm.firecrest_access import Access, access_of, is_safe, read_token
from windrose.slurm.model import AccessError, ClusterError

from tests.dags.firecrest_site import cluster_of, local_site
from tests.firecrest_state import CLIENT, SECRET, Fault


@pytest.fixture
def site(tmp_path):
    with local_site(tmp_path / "slurm") as (found, _):
        yield found


def listing(site, times=1, **extra):
    """List the jobs so often, with one client."""

    async def together():
        cluster = cluster_of(site, **extra)
        try:
            return [await cluster.listing() for _ in range(times)]
        finally:
            await cluster.close()

    return asyncio.run(together())


def test_one_token_serves_many_requests(site):
    listing(site, times=3)

    assert site.state.count("/token") == 1


def test_token_that_is_nearly_over_is_fetched_anew(site):
    site.state.token_life = 0

    listing(site, times=3)

    assert site.state.count("/token") == 3


def test_refused_token_is_fetched_anew_once_and_then_told(site):
    site.state.faults.append(Fault("GET /compute", status=401))
    listing(site)
    first = site.state.count("/token")
    site.state.faults.append(Fault("GET /compute", status=401, times=9))

    with pytest.raises(AccessError, match="our token is refused; check `client_id`, `client_secret`"):
        listing(site)

    assert (first, site.state.count("/token")) == (2, 4)


def test_token_server_that_wants_the_secret_in_a_header_gets_it_there(site):
    site.state.takes_form = False

    listing(site)

    assert site.state.count("/token") == 2


def test_wrong_secret_is_told_without_the_secret(site):
    site.state.tokens.clear()
    connection = site.connection()
    connection.password = "not-the-secret"
    cluster = cluster_of(site)
    cluster.connection = connection

    async def ask():
        try:
            await cluster.listing()
        finally:
            await cluster.close()

    with pytest.raises(AccessError) as caught:
        asyncio.run(ask())

    assert "invalid_client" in str(caught.value)
    assert "not-the-secret" not in str(caught.value)


def test_token_server_that_is_down_is_waited_for(site):
    site.state.faults.append(Fault("/token", status=503))

    with pytest.raises(ClusterError, match="which gives out tokens, answers 503") as caught:
        listing(site)

    assert not isinstance(caught.value, AccessError)


def test_token_file_is_read_again_at_each_use(site, tmp_path):
    path = tmp_path / "token"
    site.state.tokens |= {"one", "two"}

    async def ask():
        cluster = cluster_of(site, token_file=str(path))
        try:
            path.write_text("one\n")
            await cluster.listing()
            path.write_text("over\n")
            with pytest.raises(AccessError, match="put a new one into token"):
                await cluster.listing()
            path.write_text("two\n")
            await cluster.listing()
        finally:
            await cluster.close()

    asyncio.run(ask())

    assert site.state.count("/token") == 0


@pytest.mark.parametrize("content", [None, "", "two words", "line\nline", "\N{SNOWMAN}"])
def test_file_without_a_token_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "token").write_text(content, encoding="utf-8")

    with pytest.raises(AccessError, match="^token"):
        read_token(str(tmp_path / "token"))


def test_server_that_wants_to_be_left_alone_is(site):
    site.state.faults.append(Fault("GET /compute", status=429, times=2, headers={"Retry-After": "0.2"}))

    begun = time.monotonic()
    listing(site)

    assert time.monotonic() - begun >= 0.4
    assert site.state.count("GET /compute") == 3


def test_all_requests_wait_when_one_is_told_to(site):
    site.state.faults.append(Fault("GET /compute", status=429, headers={"Retry-After": "0.5"}))

    async def together():
        cluster = cluster_of(site)
        try:
            await asyncio.gather(cluster.listing(), cluster.listing())
            await cluster.listing()
        finally:
            await cluster.close()

    asyncio.run(together())

    assert site.state.count("GET /compute") == 4


def test_wait_has_a_bound_and_then_the_caller_is_told(site, monkeypatch):
    monkeypatch.setattr(firecrest_client, "LONGEST_WAIT", 0.5)
    site.state.faults.append(Fault("GET /compute", status=429, times=99, headers={"Retry-After": "3600"}))

    with pytest.raises(ClusterError, match="too many requests, and wants none for 3600 s") as caught:
        listing(site)

    assert caught.value.seconds == 3600  # what the watcher goes by

    assert site.state.count("GET /compute") == 1


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (Fault("GET /compute", status=403, body={"message": "no"}), AccessError, "ask those who gave it to you"),
        (Fault("GET /compute", status=404, body={"message": "System not found"}), AccessError, "no system demo"),
        (Fault("GET /compute", status=404, body={"message": "Job not found."}), ClusterError, "not found"),
        (Fault("GET /compute", status=500, body={"message": "broken"}), ClusterError, r"answers 500 \(broken\)"),
        (Fault("GET /compute", status=502, body=b"<html>"), ClusterError, "answers 502"),
        (Fault("GET /compute", status=503, body={"message": "maintenance"}), ClusterError, r"not available now \(main"),
        (Fault("GET /compute", status=200, body=b"<html>maintenance</html>"), ClusterError, "not as FirecREST 2 does"),
        (Fault("GET /compute", status=200, body=["x"]), ClusterError, "not as FirecREST 2 does"),
        (Fault("GET /compute", cut="before"), ClusterError, "cannot be reached"),
    ],
)
def test_each_error_says_what_is_wrong_and_who_has_to_act(site, fault, kind, says):
    site.state.faults.append(fault)

    with pytest.raises(ClusterError, match=says) as caught:
        listing(site)

    assert isinstance(caught.value, AccessError) == (kind is AccessError)


def test_server_that_does_not_answer_is_given_up(site, monkeypatch):
    monkeypatch.setattr(firecrest_client, "SECONDS", 0.4)
    site.state.faults.append(Fault("GET /compute", seconds=3))

    with pytest.raises(ClusterError, match="did not answer in time"):
        listing(site)


def test_server_that_is_not_there_is_an_error(site):
    connection = site.connection()
    connection.host = "http://127.0.0.1:9"
    cluster = cluster_of(site)
    cluster.connection = connection

    with pytest.raises(ClusterError, match="cannot be reached"):
        asyncio.run(cluster.listing())


def test_unknown_system_is_told_with_those_that_there_are(site):
    async def ask():
        cluster = cluster_of(site, system="nope")
        try:
            await cluster.files.described()
        finally:
            await cluster.close()

    with pytest.raises(AccessError, match=r"no system nope \(it has demo\)"):
        asyncio.run(ask())


def test_neither_secret_nor_token_shows_itself(site, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "firecrest"):
        logging.getLogger(name).setLevel(logging.NOTSET)

    async def ask():
        cluster = cluster_of(site)
        await cluster.listing()
        shown = repr(cluster.api.access) + repr(cluster.api.tokens) + repr(vars(cluster.api))
        await cluster.close()
        return shown

    shown = asyncio.run(ask())

    [token] = site.state.tokens
    for text in (shown, caplog.text):
        assert SECRET not in text
        assert token not in text
    assert "HTTP Request" not in caplog.text


def test_connection_says_who_we_are_and_the_environment_fills_the_rest():
    own = {
        "FIRECREST_URL": "https://env.example.org/v2/",
        "AUTH_TOKEN_URL": "https://id.example.org/token",
        "FIRECREST_CLIENT_ID": "env-id",
        "FIRECREST_CLIENT_SECRET": "env-secret",
    }
    said = {"token_url": "https://id.said.org", "system": "lumi", "scope": "openid"}
    whole = SimpleNamespace(
        conn_type="firecrest", host="https://said.org/v1/", login="id", password="secret", extra_dejson=said
    )
    half = SimpleNamespace(conn_type="firecrest", host="", login="id", password="", extra_dejson={})
    ssh = SimpleNamespace(conn_type="ssh", host="lumi.csc.fi", login="me", password="pw", extra_dejson=said)
    env = Access("https://env.example.org/v2", "x", "https://id.example.org/token", "env-id", "env-secret")

    assert access_of(whole, own) == Access(
        "https://said.org/v1", "lumi", "https://id.said.org", "id", "secret", scope="openid"
    )
    assert access_of(half, own, system="x") == env
    assert access_of(ssh, own, system="x") == env
    assert access_of(None, own, system="x") == env


def test_what_is_missing_is_named_with_its_variable():
    with pytest.raises(AccessError, match=r"`token_url` \(AUTH_TOKEN_URL\), `client_secret` \(FIRECREST_CLIENT_SECRET"):
        access_of(None, {"FIRECREST_URL": "https://x.org", "FIRECREST_CLIENT_ID": "me"}, system="x")


def test_environment_is_read_when_it_is_used(monkeypatch):
    monkeypatch.setenv("FIRECREST_URL", "https://x.org")
    monkeypatch.setenv("AUTH_TOKEN_URL", "https://x.org/token")
    monkeypatch.setenv("FIRECREST_CLIENT_ID", CLIENT)
    monkeypatch.setenv("FIRECREST_CLIENT_SECRET", SECRET)

    assert access_of(None, system="x").client_id == CLIENT


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://api.example.org/v2", True),
        ("http://localhost:8000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:80", True),
        ("http://api.example.org", False),
        ("http://10.0.0.1", False),
        ("ftp://localhost", False),
        ("lumi.csc.fi", False),
    ],
)
def test_token_crosses_no_network_in_the_clear(url, safe):
    connection = SimpleNamespace(
        conn_type="firecrest", host=url, login="a", password="b", extra_dejson={"system": "s", "token_url": "https://x"}
    )

    assert is_safe(url) == safe
    if not safe:
        with pytest.raises(AccessError, match="in the clear"):
            access_of(connection, {})
        connection.extra_dejson["allow_http"] = True
        assert access_of(connection, {}).url == url
