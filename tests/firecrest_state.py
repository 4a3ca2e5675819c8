"""What the small FirecREST of the tests knows, how it reaches its cluster, and what goes wrong on demand."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any

SYSTEM, CLIENT, SECRET = "demo", "test-client", "a-secret-that-no-log-may-show"
SECONDS = 5  # of a command on the cluster, as the real server's default
LARGEST = 5 * 1024 * 1024
MAX_PART = 4 * 1024 * 1024
HTTP_ERRORS = {
    "No such file or directory": 404,
    "Permission denied": 403,
    "Operation not permitted": 403,
    "File exists": 400,
}


class Said(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Output:
    """What a command on the cluster came to."""

    code: int
    out: bytes
    err: str


@dataclass
class Shell:
    """Runs a command on the cluster: here with another environment, or over SSH."""

    prefix: tuple[str, ...] = ("bash", "-c")
    environment: dict[str, str] | None = None

    def run(self, command: str, stdin: bytes = b"") -> Output:
        """Run a command."""
        argv = [*self.prefix, command]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=SECONDS * 4, env=self.environment)
        except subprocess.TimeoutExpired:
            raise Said(408, "Command execution timeout limit exceeded.") from None
        # sbatch has this code, too; ssh speaks of itself or of the connection.
        if done.returncode == 255 and re.match(rb"(ssh|kex\w*|mux\w*|Connection|client_loop)\b", done.stderr):
            raise Said(424, "Unable to establish SSH connection.")
        return Output(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


@dataclass
class Fault:
    """What goes wrong: requests whose `METHOD /path` matches get this status, or are cut off before or after."""

    match: str
    status: int = 0
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    cut: str = ""  # before: nothing is done; after: all is done, but nobody hears of it


@dataclass
class State:
    """All that a server knows."""

    shell: Shell
    mounts: tuple[str, ...]
    user: str = ""
    version: str = "2.6.0"
    takes_form: bool = True  # else the client's secret has to come in a header
    token_life: int = 300
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    objects: dict[str, dict[int, bytes]] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)  # objects on their way to a file
    transfers: dict[str, str] = field(default_factory=dict)  # job -> state
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, request: str) -> Fault | None:
        """Take the fault that is meant for a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.match, request):
                    fault.times -= 1
                    return fault
        return None

    def count(self, match: str) -> int:
        """Return how many requests there were."""
        return sum(re.search(match, request) is not None for request in self.requests)
