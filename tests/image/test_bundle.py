"""A bundle brings the whole stack to an engine that has no image and no network."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import bundle_file
from tests.engine_support import Stack, free_port, run
from tests.offline_support import CACHES, Offline, make_checkout, offline_engine, unpack, why_not_offline

PACKAGES_BEFORE: list[str] = []
WHY_NOT = why_not_offline("dockerd")
# Without namespaces of its own, a test cannot take the network away; WHY_NOT says what this machine lacks.
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "nothing")


@pytest.fixture(scope="module")
def checkout(usual: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A git clone on a connected machine, whose images are built."""
    clone = make_checkout(tmp_path_factory.mktemp("connected") / "clone")
    clone.configure(IMAGE_SOURCE="local")
    return clone


@pytest.fixture(scope="module")
def bundle(checkout: Stack) -> Iterator[Path]:
    """The bundle of that clone."""
    PACKAGES_BEFORE.extend(images_named("windrose/airflow-packages"))
    done = checkout.make("bundle", "FOR=compose", env=CACHES)
    assert done.returncode == 0, done.stderr
    written = next(checkout.folder.glob("windrose-*-compose-*.tar"))
    yield written
    written.unlink()


@pytest.fixture(scope="module")
def offline(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    """The clone out of the bundle, on a machine without a network."""
    place = tmp_path_factory.mktemp("offline")
    with offline_engine(place / "engine") as machine:
        machine.folder = unpack(bundle, place)
        settings = f"COMPOSE_PROJECT_NAME=windrose-test-bundle\nAIRFLOW_PORT={free_port()}\n"
        (machine.folder / ".env").write_text(settings, encoding="utf-8")
        yield machine
        machine.run("docker", "compose", "--project-name=windrose-test-bundle", "down", "--volumes")


def images_named(name: str) -> list[str]:
    """Return the tags that the engine has of an image."""
    return run("docker", "image", "ls", "--format={{.Tag}}", name).stdout.split()


def leftovers(checkout: Stack) -> list[str]:
    """Return what making a bundle has left in the clone's memory."""
    return [path.name for path in (checkout.folder / ".windrose").glob("bundling-*")]


def kill_load(machine: Offline, bundle: Path, after: float) -> None:
    """Kill `make load`, and all it has started, in the middle."""
    argv = machine.argv("make", "load", f"BUNDLE={bundle}")
    known = {**os.environ, "DOCKER_HOST": machine.host}
    with subprocess.Popen(
        argv, cwd=machine.folder, env=known, stderr=subprocess.DEVNULL, start_new_session=True
    ) as load:
        time.sleep(after)
        os.killpg(load.pid, signal.SIGKILL)


def test_stack_comes_up_where_there_is_no_network(offline: Offline, bundle: Path) -> None:
    assert (
        offline.run("ip", "route", "show", "default").stdout,
        offline.run("docker", "image", "ls", "--quiet").stdout,
    ) == ("", "")
    kill_load(offline, bundle, after=4)

    loaded = offline.run("make", "load", f"BUNDLE={bundle}")
    started = offline.run("make", "up")

    assert (loaded.returncode, started.returncode) == (0, 0), loaded.stderr + started.stderr
    built = [line.split()[1].split(":")[0] for line in started.stderr.splitlines() if line.startswith("building ")]
    assert built == ["windrose/airflow", "windrose/postgres"]
    shipped = bundle_file.open_bundle(bundle).manifest.images
    kept = [offline.run("docker", "image", "inspect", "--format={{.Id}}", image.reference).stdout for image in shipped]
    assert [found.strip() for found in kept] == [image.id for image in shipped]


def test_second_load_finds_everything_here(offline: Offline, bundle: Path) -> None:
    loaded = offline.run("make", "load", f"BUNDLE={bundle}")
    started = offline.run("make", "up")

    assert (loaded.returncode, "the images are here already" in loaded.stderr.splitlines()) == (0, True)
    assert (started.returncode, "everything is running and unchanged" in started.stderr) == (0, True), started.stderr


def test_bundle_holds_no_secret_of_the_clone(checkout: Stack, bundle: Path) -> None:
    names = run("tar", "-tf", str(bundle)).stdout.split()

    assert [name for name in names if name.startswith(("windrose/.env", "windrose/secrets/"))] == [
        "windrose/.env.example"
    ]
    assert names[0] == "manifest.json"


def test_nothing_made_for_the_bundle_stays_behind(checkout: Stack, bundle: Path) -> None:
    assert (images_named("windrose/airflow-packages"), leftovers(checkout)) == (PACKAGES_BEFORE, [])
