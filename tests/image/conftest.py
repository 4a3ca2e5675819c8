"""Images are built for real, from a copy of the project, on stand-ins of their own; the tags go away in the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import base_images, tree
from tests.engine_support import Done, Stack, run
from tests.mirror_support import Debian, Mirror, gateway, serve

AIRFLOW_BASE = "windrose/airflow-base:3.3.2-local"


@dataclass
class Build:
    """A copy of the project to build images from."""

    clone: Stack

    def write(self, name: str, text: str) -> None:
        """Write a file of the copy."""
        (self.clone.folder / name).write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a text that a file of the copy must have."""
        text = (self.clone.folder / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))

    def make(self) -> Done:
        """Run `make build`."""
        return self.clone.make("build")

    def tags(self) -> dict[str, str]:
        """Build, and return image name -> tag."""
        done = self.make()
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^(airflow|postgres): (\S+)$", done.stderr, flags=re.MULTILINE))


def list_images() -> set[str]:
    """Return every tag the engine has."""
    return set(run("docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split())


@pytest.fixture(scope="session", autouse=True)
def only_own_images() -> Iterator[None]:
    """Remove, in the end, every image that was not there in the beginning, the stand-ins aside."""
    before = list_images()
    yield
    after = list_images()
    made = [tag for tag in after - before if tag.startswith("windrose/airflow:")]
    for tag in [*made, *(tag for tag in after if tag.startswith("windrose-test/"))]:
        run("docker", "image", "rm", "--force", tag, check=False)


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Build]:
    """Make a copy of the project that builds on stand-ins."""

    def make() -> Build:
        clone = Stack(tree.copy_to(tmp_path_factory.mktemp("image") / "clone"), "windrose-test-image", 1)
        clone.configure(IMAGE_SOURCE="local", AIRFLOW_PORT="8080")
        return Build(clone)

    return make


@pytest.fixture(scope="session")
def usual(make_clone: Callable[[], Build]) -> dict[str, str]:
    """The tags of the unchanged project, built."""
    return make_clone().tags()


@pytest.fixture
def build(make_clone: Callable[[], Build], usual: dict[str, str]) -> Build:
    """A copy of the project of which nothing has to be built but what the test changes."""
    return make_clone()


@pytest.fixture
def base_of(build: Build) -> Callable[[str], str]:
    """Make the copy build on a base image of the test's own, and return its name."""

    def choose(dockerfile: str) -> str:
        tag = "windrose-test/airflow-base:3.3.2-local"
        run("docker", "buildx", "build", "--load", f"--tag={tag}", "-", stdin=dockerfile, timeout=300)
        build.replace("images/images.env", f"AIRFLOW_LOCAL={AIRFLOW_BASE}", f"AIRFLOW_LOCAL={tag}")
        return tag

    return choose


def inside(image: str, *argv: str, options: tuple[str, ...] = ()) -> str:
    """Run a program in an image, past its entrypoint, and return what it printed."""
    argv = ("docker", "run", "--rm", "--network=none", *options, f"--entrypoint={argv[0]}", image, *argv[1:])
    return run(*argv, timeout=300).stdout.strip()


@pytest.fixture(scope="session")
def run_inside() -> Callable[..., str]:
    """Run a program in an image and return what it printed."""
    return inside


@pytest.fixture
def project(build: Build) -> Path:
    """The folder of the copy."""
    return build.clone.folder


@pytest.fixture
def debian() -> Iterator[Mirror]:
    """A Debian mirror of the site, as containers and this machine reach it."""
    with serve(Debian, gateway(), base_images.machine_mirror().rstrip("/") + "/") as mirror:
        yield mirror
