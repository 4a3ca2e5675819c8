"""A small FirecREST 2 for tests: our own server over a cluster that it reaches by SSH, or over a local stand-in.

It covers these calls, with the words, numbers and error texts of the real one in its command-line mode:

- `POST /token` (OAuth client credentials, in the form or in a header)
- `/status/systems`, `/status/{system}/userinfo`
- `/compute/{system}/jobs`: submit by script or script path, list with `time_window` and `name`, one job, its metadata,
  cancel
- `/filesystem/{system}/ops/`: ls, stat, mkdir, chmod, upload, download, view with `offset` and `size`, head, tail,
  checksum, rm
- `/filesystem/{system}/transfer/`: upload and download through a store, `mv`; the store is part of this server, and it
  moves the file itself where the real one submits a batch job

Not covered: symlink, chown, compress, extract, cp, attach, reservations, nodes, partitions, streamer and wormhole.
It goes wrong on demand: see Fault. It counts requests, and how many are under way at a time.
"""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.firecrest_calls import CALLS, described
from tests.firecrest_state import CLIENT, HTTP_ERRORS, SECONDS, SECRET, SYSTEM, Said, State


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.handle_request()

    do_POST = do_PUT = do_DELETE = do_GET

    def handle_request(self) -> None:
        """Answer, or go wrong as the test wants it."""
        state = self.server.state
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = f"{self.command} {parts.path}"
        with state.lock:
            state.requests.append(name)
            state.busy += 1
            state.busiest = max(state.busiest, state.busy)
        try:
            fault = state.fault(name)
            if fault:
                time.sleep(fault.seconds)
                if fault.status:
                    return self.answer(fault.status, fault.body or {"message": "on demand"}, fault.headers)
                if fault.cut == "before":
                    self.close_connection = True
                    return None
            try:
                status, body, *headers = self.work(parts.path)
            except Said as error:
                status, body, headers = error.status, {"errorType": "error", "message": error.message}, []
            if fault and fault.cut == "after":
                self.close_connection = True
                return None
            self.answer(status, body, *headers)
        finally:
            with state.lock:
                state.busy -= 1

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        data = body if isinstance(body, bytes) else b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"f7t-appversion": self.server.state.version, **(headers or {})}.items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def work(self, path: str) -> tuple[Any, ...]:
        """Find what a path means."""
        state = self.server.state
        if path == "/token":
            return self.token()
        if path.startswith("/s3/"):
            return self.store(path.removeprefix("/s3/"))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in state.tokens:
            raise Said(401, "Access token is invalid.")
        if path == "/status/systems":
            return 200, {"systems": [described(state)]}
        area, system, *rest = path.strip("/").split("/")
        if system != SYSTEM:
            raise Said(404, "System not found")
        call = CALLS.get((self.command, area, "/".join(rest[:2]) if area == "filesystem" else self.kind(area, rest)))
        if call is None:
            raise Said(404, "Not Found")
        return call(self, rest)

    @staticmethod
    def kind(area: str, rest: list[str]) -> str:
        """Return which of the calls about jobs it is."""
        if area != "compute":
            return "/".join(rest)
        return {1: "jobs", 2: "jobs/id", 3: f"jobs/id/{rest[-1]}"}[len(rest)]

    def token(self) -> tuple[int, Any]:
        """Give out a token."""
        form = {key: values[-1] for key, values in parse_qs(self.body.decode()).items()}
        given = (form.get("client_id"), form.get("client_secret"))
        if not self.server.state.takes_form:
            said = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            given = (said.partition(":")[0], said.partition(":")[2])
        if given != (CLIENT, SECRET):
            return 401, {"error": "invalid_client", "error_description": "Invalid client or Invalid client credentials"}
        token = secrets.token_urlsafe(24)
        self.server.state.tokens.add(token)
        return 200, {"access_token": token, "expires_in": self.server.state.token_life, "token_type": "Bearer"}

    def path_of(self, name: str = "") -> str:
        """Return the path that a request is about."""
        path = name or self.query.get("path") or ""
        if not path and self.headers.get("Content-Type", "").startswith("application/json"):
            said = self.json()
            path = said.get("sourcePath") or said.get("source_path") or said.get("path") or ""
        if not path.startswith("/"):
            raise Said(400, f"The provided path ({path}) is not an absolute path.")
        if not any(path == mount or path.startswith(mount.rstrip("/") + "/") for mount in self.server.state.mounts):
            raise Said(
                400,
                f"The provided path ({path}) does not match any of the defined filesystem paths for the requested "
                f"system ({SYSTEM}).",
            )
        return path

    def json(self) -> dict[str, Any]:
        """Return the body."""
        return json.loads(self.body or b"{}")

    def command_on(self, command: str, stdin: bytes = b"") -> bytes:
        """Run a file command; an error of it becomes a number of HTTP."""
        done = self.server.state.shell.run(f"timeout {SECONDS} {command}", stdin)
        if done.code == 0:
            return done.out
        message = f"Remote process failed with exit status:{done.code} and error message:{done.err.strip()}"
        found = [status for words, status in HTTP_ERRORS.items() if words in done.err]
        raise Said(408 if done.code == 124 else (found or [500])[0], message)

    def store(self, key: str) -> tuple[Any, ...]:
        """Take and give the parts of a file: the store beside the API."""
        state = self.server.state
        name, _, part = key.partition("/")
        if self.command == "PUT":
            state.objects[name][int(part)] = self.body
            return 200, b"", {"ETag": f'"{secrets.token_hex(8)}"'}
        data = b"".join(state.objects[name][number] for number in sorted(state.objects[name]))
        if self.command == "POST":
            path = state.waiting[name]
            self.command_on(f"cat > {shlex.quote(path)}", data)
            state.transfers[name] = "COMPLETED"
            return 200, b"<done/>"
        return 200, data


class Server(ThreadingHTTPServer):
    """The server, on a port of this machine alone."""

    daemon_threads = True

    def __init__(self, state: State) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running(state: State) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(state)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
