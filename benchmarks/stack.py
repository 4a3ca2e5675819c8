"""Measure the stack as a user meets it: time to healthy, a second `make up`, a new DAG, tasks, memory when idle.

It runs a copy of this clone under a project name and a port of its own. With PEER=<folder> that holds a
docker-compose.yaml whose web page is published on PEER_PORT (8080), login PEER_LOGIN (airflow:airflow), the same is
measured there in the same run, for as far as a `docker compose up --wait` can be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import tree  # noqa: E402
from scripts.airflow_api import airflow_get_token  # noqa: E402

PORT = int(os.environ.get("BENCH_PORT", "18099"))
SETTLE = int(os.environ.get("BENCH_SETTLE", "300"))  # seconds between healthy and the memory reading
PROJECT = "windrose-bench"
DAG = """
from airflow.sdk import DAG, task

with DAG("bench-chain", schedule=None, is_paused_upon_creation=False):
    before = None
    for number in range(40):
        @task(task_id=f"step_{number}")
        def step():
            pass
        this = step()
        if before is not None:
            before >> this
        before = this

with DAG("bench-wide", schedule=None, is_paused_upon_creation=False, max_active_tasks=200):
    @task
    def work(number):
        pass
    work.expand(number=list(range(100)))
"""


@dataclass
class Stack:
    """A stack that is measured: how it starts, where its page and its DAGs are."""

    name: str
    folder: Path
    start: list[str]
    stop: list[str]
    address: str
    login: str  # user:password, or user: where the password is generated
    token: str | None = None

    def run(self, argv: list[str]) -> float:
        """Run a command in the stack's folder; return the seconds it took."""
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=self.folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(argv)} failed: {done.stderr.strip()[-500:]}")
        return time.monotonic() - began

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the API; None where it says no."""
        if self.token is None:
            user, _, password = self.login.partition(":")
            self.token = airflow_get_token(self.address, user, password or self.password())
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except OSError:
            return None

    def password(self) -> str:
        """Return the generated password."""
        return (self.folder / "secrets" / "admin_password").read_text().strip()

    def memory_mb(self) -> float:
        """Return the sum of what `docker stats` shows for the stack's containers."""
        listed = subprocess.run(
            ["docker", "compose", "ps", "-q"], cwd=self.folder, capture_output=True, text=True, check=True
        )
        argv = ["docker", "stats", "--no-stream", "--format={{.MemUsage}}", *listed.stdout.split()]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\n")
        units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
        used = [line.split(" / ")[0] for line in lines if " / " in line]
        return sum(float(text[:-3]) * units[text[-3:]] for text in used)


def wait(condition: Callable[[], Any], limit: float = 600) -> float:
    """Return the seconds until the condition holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - began


def run_dag(stack: Stack, dag_id: str, limit: float = 600) -> float:
    """Trigger a DAG; return the seconds from its start to its end, as Airflow wrote them down, inf where it failed."""
    run = wait_for_run(stack, dag_id)
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run}"
    wait(lambda: (stack.call("GET", path) or {}).get("state") in ("success", "failed"), limit)
    found = stack.call("GET", path) or {}
    return float(found["duration"]) if found.get("state") == "success" else float("inf")


def wait_for_run(stack: Stack, dag_id: str) -> str:
    """Trigger a DAG as soon as that is possible."""
    runs: list[str] = []

    def trigger() -> bool:
        answer = stack.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
        runs.extend([answer["dag_run_id"]] if answer else [])
        return bool(runs)

    wait(trigger, 300)
    return runs[0]


def measure(stack: Stack) -> dict[str, str]:
    """Measure one stack from nothing to idle."""
    figures = {"time to healthy": f"{stack.run(stack.start):.1f} s", "second start": f"{stack.run(stack.start):.1f} s"}
    time.sleep(SETTLE)
    figures[f"memory {SETTLE} s later"] = f"{stack.memory_mb():.0f} MB"
    folder = stack.folder / "dags" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench_dag.py").write_text(DAG)
    figures["new DAG in the API"] = f"{wait(lambda: stack.call('GET', '/api/v2/dags/bench-chain')):.1f} s"
    figures["40 tasks in a row"] = f"{run_dag(stack, 'bench-chain') / 40:.2f} s a task"
    run_dag(stack, "bench-wide")
    figures["100 tasks at once, warm"] = f"{100 * 60 / run_dag(stack, 'bench-wide'):.0f} a minute"
    return figures


def own_stack(folder: Path) -> Stack:
    """Return a copy of this clone."""
    tree.copy_to(folder)
    (folder / ".env").write_text(
        f"COMPOSE_PROJECT_NAME={PROJECT}\nAIRFLOW_PORT={PORT}\nEXECUTOR={os.environ.get('EXECUTOR', '')}\n"
    )
    address = f"http://127.0.0.1:{PORT}"
    return Stack("windrose", folder, ["make", "up"], ["make", "clean", "CONFIRM=yes"], address, "admin:")


def peer_stack(folder: Path) -> Stack:
    """Return another kit's stack, as its own compose file starts it."""
    address = f"http://127.0.0.1:{os.environ.get('PEER_PORT', '8080')}"
    start = ["docker", "compose", "up", "--detach", "--wait", "--quiet-pull"]
    login = os.environ.get("PEER_LOGIN", "airflow:airflow")
    return Stack("peer", folder, start, ["docker", "compose", "down", "--volumes"], address, login)


def main() -> None:
    """Measure, one stack after the other, and print the figures beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = [own_stack(Path(folder))]
        stacks[0].run(["make", "build"])
        if os.environ.get("PEER"):
            stacks.append(peer_stack(Path(os.environ["PEER"])))
        for stack in stacks:
            try:
                figures = measure(stack)
            finally:
                subprocess.run(stack.stop, cwd=stack.folder, capture_output=True, check=False)
            print(stack.name)
            for name, value in figures.items():
                print(f"  {name:26} {value}")


if __name__ == "__main__":
    main()
