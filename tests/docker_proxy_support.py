"""The proxy before Docker's engine, started as the program it is."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine_support import ROOT, eventually

PROGRAM = ROOT / "images" / "docker-proxy" / "proxy.py"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@dataclass
class Proxy:
    """A running proxy."""

    socket: Path
    process: subprocess.Popen[str]
    log: Path

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and answer, read as JSON where it is."""
        connection = UnixConnection(self.socket)
        text = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, text, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        try:
            return answer.status, json.loads(said)
        except ValueError:
            return answer.status, said.decode(errors="replace")

    def refusal(self, method: str, path: str, body: Any = None) -> str:
        """Return the sentence with which a request is refused."""
        status, answer = self.ask(method, path, body)
        assert status in (403, 404, 413), (status, answer)
        assert answer["message"].startswith("docker-proxy: ")
        return str(answer["message"].removeprefix("docker-proxy: "))

    def memory_kb(self) -> int:
        """Return the most memory that the program ever took."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0])

    def open(self, request: str) -> socket.socket:
        """Send a request as it stands, and leave the connection open."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.socket))
        client.sendall(request.encode())
        return client


@contextmanager
def running_proxy(place: Path, engine: str, **settings: str) -> Iterator[Proxy]:
    """Start the program, and stop it in the end."""
    place.mkdir(exist_ok=True)
    environment = {"PROXY_PROJECT": "windrose-test-proxy", "PROXY_NETWORK": "none", "PROXY_USER": f"{os.getuid()}:0"}
    environment |= {"PROXY_ENGINE": engine, "PROXY_PLACE": str(place), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    log = place / "log"
    with log.open("a", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, str(PROGRAM)], env=environment, stderr=said, text=True)
    proxy = Proxy(place / "docker.sock", process, log)
    try:
        eventually(lambda: (place / "heartbeat").exists() or process.poll() is not None, within=20, pause=0.05)
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield proxy
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        (place / "heartbeat").unlink(missing_ok=True)
