"""What the proxy forwards, seen by an engine that only writes down what it is asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from tests.docker_proxy_support import Proxy, running_proxy
from tests.engine_support import eventually

PROJECT = "windrose-test-proxy"
OWN = "a" * 64
FOREIGN = "b" * 64
ATTACH = f"POST /v1.45/containers/{OWN}/attach?stdout=1&stderr=1&stream=1 HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"


class Engine(ThreadingUnixStreamServer):
    """An engine with one container of the proxy's own and one of somebody else."""

    daemon_threads = True
    asked: list[tuple[str, str, Any]]
    ended: threading.Event

    def asked_for(self, words: str) -> list[Any]:
        """Return the bodies of the requests whose first words are these."""
        return [body for method, path, body in self.asked if f"{method} {path}".startswith(words)]


class Answer(BaseHTTPRequestHandler):
    """Answers as an engine would."""

    log_message = print
    server: Engine

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((self.command, self.path, json.loads(body) if body else None))
        path = self.path.partition("?")[0]
        if path.endswith("/attach"):
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst words")
            self.server.ended.wait(20)
            return
        status, answer = self.known(path)
        text = json.dumps(answer)
        self.wfile.write(f"HTTP/1.1 {status} OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    def known(self, path: str) -> tuple[int, Any]:
        labels = {OWN: {"windrose.jobs": PROJECT}, FOREIGN: {"windrose.jobs": "other"}}
        if path in (f"/containers/{OWN}/json", f"/containers/{PROJECT}-job-x/json", f"/containers/{FOREIGN}/json"):
            name = FOREIGN if FOREIGN in path else OWN
            host = {"Mounts": [{"Type": "volume"}]}
            return 200, {
                "Id": name,
                "Name": f"/{PROJECT}-job-x" if name == OWN else "/other",
                "Config": {"Labels": labels[name]},
                "HostConfig": host,
                "State": {"Running": not self.server.ended.is_set()},
            }
        if path == "/containers/json":
            return 200, []
        if path == "/volumes/create":
            return 201, {"Name": "job-x", "Driver": "local", "Labels": None, "Options": {"device": "/"}}
        return (404, {"message": "no such thing"}) if "/containers/" in path and "create" not in path else (200, {})

    do_GET = do_POST = do_DELETE = do_HEAD = answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both listen."""
    return tmp_path_factory.mktemp("docker")


@pytest.fixture(scope="module")
def running_engine(place: Path) -> Iterator[Engine]:
    """An engine that is running."""
    server = Engine(str(place / "engine.sock"), Answer)
    server.asked, server.ended = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def engine(running_engine: Engine) -> Engine:
    """The engine, which has not been asked anything yet, with its containers running."""
    running_engine.ended.clear()
    running_engine.asked.clear()
    return running_engine


@pytest.fixture(scope="module")
def proxy(place: Path, running_engine: Engine) -> Iterator[Proxy]:
    """A proxy before that engine."""
    images = "example.org/team/*"
    with running_proxy(place / "proxy", str(running_engine.server_address), JOB_IMAGES=images) as proxy:
        yield proxy


def attached(proxy: Proxy) -> socket.socket:
    """Return a connection on which a container's output arrives."""
    client = proxy.open(ATTACH)
    said = b""
    while b"first words" not in said:
        said += client.recv(1000)
    return client


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /build",
        "POST /v1.45/build?remote=x",
        "POST /containers/{own}/exec",
        "POST /exec/1/start",
        "POST /swarm/init",
        "GET /swarm",
        "GET /services",
        "GET /secrets",
        "POST /plugins/pull?remote=x",
        "GET /plugins",
        "GET /info",
        "GET /events",
        "GET /system/df",
        "GET /containers/json",
        "POST /containers/prune",
        "POST /containers/{own}/update",
        "POST /containers/{own}/rename?name=x",
        "POST /containers/{own}/attach/ws",
        "PUT /containers/{own}/archive?path=/",
        "HEAD /containers/{own}/archive?path=/",
        "GET /containers/{own}/export",
        "POST /commit?container={own}",
        "POST /networks/create",
        "GET /networks",
        "POST /networks/x/connect",
        "POST /volumes/create",
        "GET /volumes",
        "DELETE /volumes/job-x",
        "DELETE /images/example.org/team/a",
        "POST /images/load",
        "POST /images/create?fromSrc=-",
        "POST /images/create?fromImage=example.org/team/a&fromSrc=-",
        "POST /images/create?fromImage=evil.org/team/a&tag=1",
        "POST /images/example.org/team/a/push",
        "POST /images/example.org/team/a/tag?repo=b",
        "GET /images/evil.org/a/json",
        "GET /images/example.org/team/a/get",
        "GET /images/search?term=a",
        "GET /distribution/example.org/team/a/json",
        "POST /session",
        "POST /grpc",
        "TRACE /_ping",
        "POST /containers/{own}/start?detachKeys=a",
        "POST /containers/{own}/attach?stdin=1",
        "GET /containers/{own}/archive?path=/etc",
        "GET /containers/{foreign}/json",
        "GET /containers/{foreign}/logs?stdout=1",
        "POST /containers/{foreign}/attach?stdout=1",
        "POST /containers/{foreign}/stop",
        "POST /containers/{foreign}/kill",
        "DELETE /containers/{foreign}?force=1",
        "GET /containers/windrose-postgres-1/json",
        "GET /containers/{own}/x/../json",
        "POST /containers/{own}%2f..%2f{foreign}/stop",
    ],
)
def test_request_is_refused_and_never_reaches_the_engine(proxy: Proxy, engine: Engine, request_line: str) -> None:
    method, path = request_line.format(own=OWN, foreign=FOREIGN).split(" ")

    status, answer = proxy.ask(method, path)

    assert status in (403, 404, 501), answer
    # Only to look whose container it is, and which containers are abandoned, the proxy itself asks.
    looks = [path for method, path, _ in engine.asked if method == "GET" and "/json?" in path and "containers/" in path]
    assert len(looks) == len(engine.asked)


def test_small_talk_is_forwarded(proxy: Proxy, engine: Engine) -> None:
    paths = ["/v1.45/_ping", "/version", "/v1.45/images/json?all=0", "/v1.45/images/example.org/team/a:1/json"]

    assert [proxy.ask("GET", path)[0] for path in paths] == [200] * 4
    forwarded = ["/_ping?", "/version?", "/images/json?all=0", "/images/example.org/team/a:1/json?"]
    assert [path for _, path, _ in engine.asked if not path.startswith("/containers/json")] == forwarded


def test_pull_is_written_anew_with_the_login(proxy: Proxy, engine: Engine) -> None:
    path = "/v1.45/images/create?tag=1&fromImage=example.org%2Fteam%2Fa"

    assert proxy.ask("POST", path, X_Registry_Auth="YWJj")[0] == 200
    assert engine.asked_for("POST /images/create?fromImage=example.org%2Fteam%2Fa%3A1") == [None]


def test_login_has_only_its_own_keys(proxy: Proxy, engine: Engine) -> None:
    login = {"username": "a", "password": "b", "serveraddress": "example.org"}

    assert proxy.ask("POST", "/v1.45/auth", login)[0] == 200
    assert engine.asked_for("POST /auth") == [login]
    assert "identitytoken" in proxy.refusal("POST", "/auth", {**login, "identitytoken": "x"})


def test_container_is_made_anew_under_a_name_of_the_stack(proxy: Proxy, engine: Engine) -> None:
    request = {"Image": "example.org/team/a", "Cmd": ["x"], "HostConfig": {"Memory": 2**26, "Privileged": False}}

    assert proxy.ask("POST", "/v1.45/containers/create?name=job-x", request)[0] == 200
    assert proxy.ask("GET", "/v1.45/containers/job-x/json")[0] == 200
    [made] = engine.asked_for(f"POST /containers/create?name={PROJECT}-job-x")
    assert (made["Image"], made["HostConfig"]["CapDrop"]) == ("example.org/team/a:latest", ["ALL"])


def test_volume_of_somebody_else_is_refused(proxy: Proxy, engine: Engine) -> None:
    mount = {"Type": "volume", "Source": "job-x", "Target": "/data"}
    request = {"Image": "example.org/team/a", "HostConfig": {"Mounts": [mount]}}

    assert "job-x" in proxy.refusal("POST", "/containers/create", request)
    assert engine.asked_for("POST /containers/create") == []


def test_large_body_is_refused_without_memory_for_it(proxy: Proxy, engine: Engine) -> None:
    before = proxy.memory_kb()

    sentence = proxy.refusal("POST", "/containers/create", b'{"Image": "' + b"a" * 50_000_000)

    assert sentence == "the body is larger than 262144 bytes"
    assert proxy.memory_kb() - before < 8000


def test_body_of_unknown_length_is_refused(proxy: Proxy) -> None:
    with proxy.open(
        "POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ) as client:
        assert b"does not say how long it is" in client.recv(1000)


def test_container_goes_when_its_client_breaks_off(proxy: Proxy, engine: Engine) -> None:
    client = attached(proxy)

    client.close()

    eventually(lambda: engine.asked_for(f"DELETE /containers/{OWN}?force=1"), within=10, pause=0.05)
    assert engine.asked_for(f"POST /containers/{OWN}/stop") == [None]
    assert f"removing {OWN[:12]}: its client is gone" in proxy.log.read_text(encoding="utf-8")


def test_container_stays_while_another_client_follows_it(proxy: Proxy, engine: Engine) -> None:
    first, second = attached(proxy), attached(proxy)

    first.close()
    time.sleep(0.5)

    assert engine.asked_for(f"DELETE /containers/{OWN}") == []
    second.close()
    eventually(lambda: engine.asked_for(f"DELETE /containers/{OWN}"), within=10, pause=0.05)


def test_container_that_has_ended_is_left_for_a_last_look(proxy: Proxy, engine: Engine) -> None:
    client = attached(proxy)

    engine.ended.set()
    while client.recv(1000):
        pass
    client.close()
    time.sleep(0.3)

    assert engine.asked_for(f"DELETE /containers/{OWN}") == []


def test_removal_takes_unnamed_volumes_along(proxy: Proxy, engine: Engine) -> None:
    proxy.ask("DELETE", f"/containers/{OWN}?v=False&link=False&force=False")

    assert engine.asked_for(f"DELETE /containers/{OWN}?v=1&force=1") == [None]
