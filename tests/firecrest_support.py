"""A FirecREST for tests: our own small server, or the real one, over a cluster that is reached by SSH.

- `FIRECREST_URL`, with `AUTH_TOKEN_URL`, `FIRECREST_CLIENT_ID`, `FIRECREST_CLIENT_SECRET`, `FIRECREST_SYSTEM`,
  `FIRECREST_SCRATCH` and `FIRECREST_ACCOUNT`: the server of a site, with its own cluster.
- `FIRECREST_CHECKOUT`: a checkout of the real server, run over the tests' cluster; `FIRECREST_PYTHON` is a Python that
  has what its requirements.txt names. The cluster's container needs CAP_SYS_ADMIN for that: see firecrest_calls.submit.
- neither: tests/firecrest_server.py, over the tests' cluster.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from tests import firecrest_server
from tests.firecrest_state import CLIENT, SECRET, SYSTEM, Shell, State

START_SECONDS = 60


class Login(Protocol):
    """A cluster as far as it is needed here: tests/slurm_support.py has one."""

    port: int

    def key(self, user: str = ...) -> Path:
        """Return the file of a user's key."""


@dataclass(frozen=True)
class Site:
    """A FirecREST, and what it knows us by."""

    url: str
    token_url: str
    client_id: str
    client_secret: str
    system: str
    scratch: str
    account: str = ""
    state: State | None = None  # of our own server: its faults and its counts

    def connection(self, **extra: Any) -> Any:
        """Return the connection that `make connections` would register, as far as it is read."""
        said = {"token_url": self.token_url, "system": self.system, **extra}
        return SimpleNamespace(
            conn_type="firecrest", host=self.url, login=self.client_id, password=self.client_secret, extra_dejson=said
        )

    def connection_json(self, **facts: object) -> str:
        """Return the same as Airflow reads it from AIRFLOW_CONN_...: JSON."""
        told = {"transport": "firecrest", "account": self.account, "scratch": self.scratch, **facts}
        extra = {"token_url": self.token_url, "system": self.system, "windrose": told}
        login = {"login": self.client_id, "password": self.client_secret}
        return json.dumps({"conn_type": "firecrest", "host": self.url, **login, "extra": extra})


@contextmanager
def running_site(cluster: Login, folder: Path, *, user: str, scratch: str, account: str) -> Iterator[Site]:
    """Run the server that the environment asks for."""
    own = os.environ
    if own.get("FIRECREST_URL"):
        yield Site(
            own["FIRECREST_URL"],
            own["AUTH_TOKEN_URL"],
            own["FIRECREST_CLIENT_ID"],
            own["FIRECREST_CLIENT_SECRET"],
            own["FIRECREST_SYSTEM"],
            own["FIRECREST_SCRATCH"],
            own.get("FIRECREST_ACCOUNT", ""),
        )
    elif own.get("FIRECREST_CHECKOUT"):
        checkout = Path(own["FIRECREST_CHECKOUT"])
        with real_server(checkout, cluster, folder, user=user, mounts=(scratch, "/tmp")) as (url, token_url):  # noqa: S108
            yield Site(url, token_url, CLIENT, SECRET, SYSTEM, scratch, account)
    else:
        words = ("-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/%C", "-o", "ControlPersist=30")
        trust = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        login = ("-i", str(cluster.key(user)), "-p", str(cluster.port), f"{user}@127.0.0.1")
        state = State(Shell(("ssh", "-F", "none", *words, *trust, *login)), (scratch, "/tmp"))  # noqa: S108
        with firecrest_server.running(state) as server:
            yield Site(server.url, f"{server.url}/token", CLIENT, SECRET, SYSTEM, scratch, account, state)


@contextmanager
def real_server(
    checkout: Path, cluster: Login, folder: Path, *, user: str, mounts: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Run the real server, and one that gives out the tokens that it believes."""
    with token_server(user, folder) as token_url:
        port = free_port()
        key = {"private_key": f"secret_file:{cluster.key(user)}"}
        config = {
            "auth": {
                "authentication": {
                    "scopes": {},
                    "token_url": token_url,
                    "public_certs": [f"file://{folder / 'jwks.json'}"],
                    "username_claim": "preferred_username",
                }
            },
            "ssh_credentials": {"type": "SSHStaticKeys", "keys": {user: key}},
            "clusters": [
                {
                    "name": SYSTEM,
                    "ssh": {"host": "127.0.0.1", "port": cluster.port, "max_clients": 20},
                    "scheduler": {"type": "slurm", "connection_mode": "ssh", "version": "24.11.0", "timeout": 10},
                    "service_account": {"client_id": CLIENT, "secret": SECRET},
                    "probing": {"interval_check": 600},
                    "file_systems": [
                        {"path": mount, "data_type": "users", "default_work_dir": number == 0}
                        for number, mount in enumerate(mounts)
                    ],
                    "data_operation": {"max_ops_file_size": 5242880},
                }
            ],
        }
        (folder / "firecrest.yaml").write_text(json.dumps(config), encoding="utf-8")
        python = os.environ.get("FIRECREST_PYTHON", sys.executable)
        argv = [python, "-m", "uvicorn", "firecrest.main:app", "--host=127.0.0.1", f"--port={port}", "--app-dir=."]
        environment = {**os.environ, "YAML_CONFIG_FILE": str(folder / "firecrest.yaml"), "PYTHONPATH": "."}
        with (folder / "firecrest.log").open("wb") as log:
            server = subprocess.Popen(argv, cwd=checkout / "src", env=environment, stdout=log, stderr=log)
            try:
                wait_for(f"http://127.0.0.1:{port}/status/liveness/", folder / "firecrest.log", server)
                yield f"http://127.0.0.1:{port}", token_url
            finally:
                server.terminate()
                server.wait(20)


@contextmanager
def token_server(user: str, folder: Path) -> Iterator[str]:
    """Give out signed tokens, and write down the key that they are checked with."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "tests", "alg": "RS256", "use": "sig"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [public]}), encoding="utf-8")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            now = int(time.time())
            claims = {"preferred_username": user, "iat": now, "exp": now + 300, "sub": user, "scope": "openid"}
            token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "tests"})
            data = json.dumps({"access_token": token, "expires_in": 300, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        server.server_close()


def wait_for(url: str, log: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace")[-3000:])


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
