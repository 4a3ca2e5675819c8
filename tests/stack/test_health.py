"""A frozen process turns its service's health red within a minute, and a thawed one green again."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.engine_support import Stack, eventually, run

NOTICED_WITHIN = 60
# What is frozen together: no service of a group turns red because another one of it is frozen.
GROUPS = (
    (
        "airflow-apiserver",
        "airflow-dag-processor",
        "airflow-scheduler",
        "airflow-triggerer",
        "airflow-worker",
        "janitor",
        "keys",
    ),
    ("postgres", "valkey"),
)


def signal_main_process(stack: Stack, service: str, name: str) -> None:
    """Send a signal to the program of a container and to nothing beside it."""
    container = stack.id(service)
    if stack.exec(service, "cat", "/proc/1/comm").stdout.strip() == "dumb-init":
        # The program is dumb-init's child; a process in the container may signal it.
        run("docker", "exec", container, "sh", "-c", f"kill -{name} $(cat /proc/1/task/1/children)")
    else:
        # The program is process 1, which takes such a signal from outside only.
        run("docker", "kill", f"--signal={name}", container)


def healths(stack: Stack, services: tuple[str, ...]) -> dict[str, str]:
    """Return the health of each service's first container, all at one look: one look a service takes seconds."""
    found: dict[str, str] = {}
    for container in stack.inspect():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        if service in services:
            found.setdefault(service, container["State"]["Health"]["Status"])
    return found


def freeze_and_thaw(stack: Stack, *services: str) -> dict[str, str]:
    """Freeze services until all are red, thaw them until all are green; return what they were between."""
    for service in services:
        signal_main_process(stack, service, "STOP")
    try:
        eventually(lambda: set(healths(stack, services).values()) == {"unhealthy"}, within=NOTICED_WITHIN)
    finally:
        found = healths(stack, services)
        for service in services:
            signal_main_process(stack, service, "CONT")
    return found


def eventually_healthy(stack: Stack) -> None:
    """Wait until `make status` has nothing to say."""
    eventually(lambda: stack.make("status").returncode == 0, within=90, pause=2)


@pytest.mark.parametrize("services", GROUPS, ids=["Airflow and janitor", "database and broker"])
def test_frozen_services_turn_red_and_green_again(celery: Stack, services: tuple[str, ...]) -> None:
    before = celery.starts()

    found = freeze_and_thaw(celery, *services)

    assert found == dict.fromkeys(services, "unhealthy")
    eventually_healthy(celery)
    assert celery.starts() == before
    assert celery.result(celery.trigger("own-looking")) == "success"


def test_no_service_is_left_out(celery: Stack) -> None:
    assert sorted(name for group in GROUPS for name in group) == [
        service for service in celery.services() if service != "airflow-init"
    ]


def test_health_page_tells_of_every_part(celery: Stack) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{celery.port}/api/v2/monitor/health", timeout=30) as answer:
        parts = json.load(answer)

    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
        ("dag_processor", "metadatabase", "scheduler", "triggerer"), "healthy"
    )
