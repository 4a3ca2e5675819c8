"""One stack for the whole tier: first with EXECUTOR=local, later the same database with EXECUTOR=celery."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_support import (
    EXAMPLES,
    FIRST_STARTS,
    OWN_DAGS,
    OWN_PLUGINS,
    Stack,
    describe,
    eventually,
    running_stack,
)
from tests.platform_support import PlatformFile
from tests.ssh_support import KeyMaker, Servers, ensure_image, remove_servers, ssh_servers

# From harmless to destructive: each module finds the stack healthy and leaves it so.
ORDER = (
    "start",
    "dags",
    "hardening",
    "commands",
    "api",
    "submitter",
    "demo",
    "hpc",
    "slurm",
    "preflight",
    "settings",
    "connections",
    "host_keys",
    "keys",
    "platforms",
    "tutorial",
    "platform_dags",
    "templates",
    "janitor",
    "tasks",
    "container_jobs",
    "library",
    "celery",
    "workers",
    "health",
    "secrets",
    "login",
    "loss",
)
PROJECT = "windrose-test"
# Small enough for a laptop, and for a test to use up.
MEMORY_MB = "6000"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules in their order; a module that is not in it comes first."""
    places = {f"test_{name}": place for place, name in enumerate(ORDER)}
    items.sort(key=lambda item: places.get(item.path.stem, -1) if item.path.parent == Path(__file__).parent else -1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A running stack with the DAGs of example_dags/, whose first start was killed several times."""
    folder = tmp_path_factory.mktemp("stack") / "clone"
    # A network cannot be removed while a server of a killed run is on it.
    remove_servers(PROJECT)
    with running_stack(folder, PROJECT, MEMORY_MB=MEMORY_MB) as stack:
        shutil.copytree(EXAMPLES, stack.folder / "dags" / "own", ignore=shutil.ignore_patterns(*OWN_PLUGINS, "__py*"))
        for name in OWN_PLUGINS:
            shutil.copy(EXAMPLES / name, stack.folder / "plugins")
        for seconds in FIRST_STARTS:
            stack.up_and_kill(after=seconds)
        stack.up()
        eventually(lambda: set(OWN_DAGS) <= set(stack.dag_ids()), within=60)
        yield stack
        if request.session.testsfailed:
            print(describe(stack))


@pytest.fixture(scope="session")
def celery(stack: Stack) -> Stack:
    """The same stack and database with EXECUTOR=celery and two workers."""
    assert stack.result(stack.trigger("own-looking")) == "success"
    stack.configure(EXECUTOR="celery", WORKERS="2")
    stack.up()
    return stack


@pytest.fixture
def dags_folder(stack: Stack) -> Path:
    """The folder of dags/ that is the user's own."""
    return stack.folder / "dags" / "own"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyMaker:
    """The folder of the person's keys, and what makes them."""
    return KeyMaker(tmp_path_factory.mktemp("person") / "keys", ensure_image())


@pytest.fixture(scope="module")
def servers(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Machines to log in to, on the network where tasks run; each is started when it is first asked for."""
    with ssh_servers(PROJECT, tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="module")
def platforms(stack: Stack) -> Iterator[PlatformFile]:
    """The person's secrets.yaml, empty; gone in the end, with the pins."""
    file = PlatformFile(stack)
    yield file
    file.remove()
