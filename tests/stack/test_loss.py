"""Back to one machine, down and up again: nothing that Airflow remembers is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine_support import Json, Stack, eventually, run

SUBNET = "10.213.77.0/24"
REMEMBERED = ("connections/plain", "variables/colour")


@pytest.fixture(scope="module")
def filled(celery: Stack) -> Stack:
    """The stack with a connection, a variable and a run with its log."""
    celery.api("POST", "connections", {"connection_id": "plain", "conn_type": "http", "password": "kept-and-hidden"})
    celery.api("POST", "variables", {"key": "colour", "value": "blau — 青"})
    assert celery.result(celery.trigger("tutorial-hello-world")) == "success"
    return celery


def all_runs(stack: Stack) -> Iterator[Json]:
    """Yield every run that somebody started, the oldest first; those of a schedule may begin at any moment."""
    offset, total = 0, 1
    while offset < total:
        page = stack.api("GET", f"dags/~/dagRuns?limit=100&offset={offset}&order_by=id&run_type=manual")
        yield from page["dag_runs"]
        offset, total = offset + 100, page["total_entries"]


def memory_of(stack: Stack) -> dict[str, Any]:
    """Return what Airflow remembers of everything that was put into it."""
    runs = list(all_runs(stack))
    last = [run for run in runs if run["dag_id"] == "tutorial-hello-world"][-1]
    path = f"dags/tutorial-hello-world/dagRuns/{last['dag_run_id']}"
    return {
        **{name: stack.api("GET", name) for name in REMEMBERED},
        "runs": [(run["dag_id"], run["dag_run_id"], run["state"]) for run in runs],
        "log": stack.log(path, "hello_world"),
    }


def register_while_down(stack: Stack) -> tuple[int, str]:
    """Register a variable, and return the exit code and the last line."""
    file = stack.folder / "secrets.yaml"
    file.touch(mode=0o600)
    file.write_text("variables: {registered: while down}\n", encoding="utf-8")
    done = stack.make("connections")
    file.unlink()
    return done.returncode, done.stdout.splitlines()[-1]


def test_local_again_removes_broker_and_workers_only(filled: Stack) -> None:
    before = memory_of(filled)

    filled.configure(EXECUTOR="local")
    filled.up()

    assert {"valkey", "airflow-worker"} & set(filled.services()) == set()
    assert memory_of(filled) == before
    assert filled.result(filled.trigger("own-looking")) == "success"


def test_down_and_up_lose_nothing(filled: Stack) -> None:
    before = memory_of(filled)
    last = filled.trigger("own-sleeping", seconds=10)
    eventually(lambda: filled.tasks(last)["sleep"]["state"] == "running", within=60)

    down = filled.make("down")
    stopped = filled.services()
    nothing = filled.make("status")
    registered = register_while_down(filled)
    left_running = filled.services()
    filled.configure(SUBNET=SUBNET)
    filled.up()

    assert (down.returncode, down.stdout) == (0, "stopped; nothing is lost, `make up` brings it back\n")
    assert (stopped, nothing.stdout) == ([], "nothing is running; `make up` starts everything\n")
    assert (registered, left_running) == ((0, "0 connections, 0 pools, 1 variable; all read back and compared"), [])
    assert filled.api("GET", "variables/registered")["value"] == "while down"
    # What ran when the stack went down has finished first.
    assert (filled.result(last), filled.tasks(last)["sleep"]["try_number"]) == ("success", 1)
    after = memory_of(filled)
    assert {**after, "runs": after["runs"][:-1]} == before
    assert '"event": "airflow"' in before["log"]


def test_networks_lie_in_the_subnet_of_the_site(filled: Stack) -> None:
    names = [f"{filled.project}_{name}" for name in ("database", "front")]

    found = run("docker", "network", "inspect", "--format={{range .IPAM.Config}}{{.Subnet}}{{end}}", *names).stdout

    assert found.split() == ["10.213.77.0/26", "10.213.77.128/26"]


def test_another_subnet_moves_a_running_stack(filled: Stack) -> None:
    before = memory_of(filled)

    filled.configure(SUBNET="10.213.78.0/24")
    filled.up()

    network = f"{filled.project}_database"
    found = run("docker", "network", "inspect", "--format={{range .IPAM.Config}}{{.Subnet}}{{end}}", network).stdout
    assert (found.strip(), memory_of(filled)) == ("10.213.78.0/26", before)
