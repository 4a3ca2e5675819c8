"""One stack without Docker for the whole tier, in a copy of the project that shares this checkout's Airflow."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts import tree
from tests.engine_support import ROOT, Stack, eventually
from tests.processes import is_alive, read_bytes

# From harmless to destructive: each module finds the stack healthy and leaves it so, the last one excepted.
ORDER = ("start", "commands", "demo", "api", "secrets", "connections", "loss", "end")
SLEEPER = '''"""Sleeps, and says how often it began."""
from airflow.sdk import DAG, task

with DAG("own-sleeping", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(retries=2, retry_delay=1)
    def sleep(params: dict | None = None) -> str:
        import pathlib, time
        marks = pathlib.Path("{folder}")
        (marks / str(time.time())).touch()
        time.sleep(6)
        return "slept"

    sleep()
'''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules in their order."""
    places = {f"test_{name}": place for place, name in enumerate(ORDER)}
    items.sort(key=lambda item: places.get(item.path.stem, -1) if item.path.parent == Path(__file__).parent else -1)


@dataclass
class Embedded(Stack):
    """A clone whose stack runs as processes of this user."""

    def configure(self, **settings: str) -> None:
        """Write `.env`, and remember the settings; without AIRFLOW_PORT, so that one is chosen."""
        self.settings |= settings
        lines = [f"{key}={value}\n" for key, value in self.settings.items() if value]
        (self.folder / ".env").write_text("".join(lines), encoding="utf-8")

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a person on a machine where no engine answers."""
        return super().environment({"DOCKER_HOST": "unix:///nonexistent/docker.sock", **(extra or {})})

    @property
    def home(self) -> Path:
        """The folder of all that the runtime keeps."""
        return self.folder / ".windrose" / "embedded"

    def told(self) -> dict[str, Any]:
        """Return what the supervisor has written, {} where none does."""
        path = self.home / "state.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return {}

    def pids(self) -> dict[str, int]:
        """Return service name -> process, the supervisor's beside them."""
        told = self.told()
        return {"supervisor": told["supervisor"]["pid"]} | {n: s["pid"] for n, s in told["services"].items()}

    def is_healthy(self) -> bool:
        """Say whether every process lives and is called healthy."""
        told = self.told()
        states = [service["state"] for service in told.get("services", {}).values()]
        return bool(states) and set(states) == {"healthy"} and all(map(is_alive, self.pids().values()))

    def up(self) -> None:
        """Run `make up`, which must succeed, and remember where it is."""
        super().up()
        self.port = json.loads((self.home / "ports.json").read_text())["web"]

    def kill(self, *names: str) -> None:
        """Kill processes, and wait until others have taken their place and everything is healthy."""
        eventually(self.is_healthy, within=60)
        before = self.pids()
        # A service that is being restarted has 0, and a signal to 0 reaches every process of these tests.
        assert all(before.values()), before
        for name in names:
            with suppress(ProcessLookupError):  # the supervisor has taken it along
                os.kill(before[name], signal.SIGKILL)
        eventually(
            lambda: self.is_healthy() and not {before[name] for name in names} & set(self.pids().values()),
            within=150,
            pause=0.2,
        )

    def processes(self) -> list[int]:
        """Return every process that has this clone in its command line."""
        own = str(self.folder).encode()
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if own in read_bytes(p / "cmdline")]


def copy_of_project(folder: Path) -> Path:
    """Copy the project, with the Airflow of this checkout: another one would be the same, a minute later."""
    tree.copy_to(folder)
    (folder / ".venv-airflow").symlink_to(ROOT / ".venv-airflow")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Embedded]:
    """A running stack, with a DAG that sleeps; what it said is shown when a test has failed."""
    folder = copy_of_project(tmp_path_factory.mktemp("embedded") / "clone")
    stack = Embedded(folder, "windrose-test-embedded", 0)
    # Soon, instead of after half a minute: tasks of a killed scheduler.
    stack.configure(
        AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL="3",
        AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD="10",
    )
    marks = folder / "data" / "begun"
    marks.mkdir(parents=True)
    stack.write_dag("own_sleeping_dag.py", SLEEPER.replace("{folder}", str(marks)))
    try:
        stack.up()
        yield stack
        if request.session.testsfailed:
            print("\n".join(stack.said[-30:]), stack.make("logs", "FOLLOW=no", "LINES=30").stdout)
    finally:
        stack.make("down")
