"""A bundle brings Airflow itself to a machine that has neither Docker nor a network."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.offline_support import CACHES, Offline, make_checkout, unpack, why_not_offline

WHY_NOT = why_not_offline()
OWN_PYTHON = "{}.{}".format(*sys.version_info[:2])
NO_ENGINE = "unix:///nonexistent/docker.sock"
ALONE = (
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-ec",
    'ip link set lo up; exec "$@"',
    "sh",
)
# Without namespaces of its own, a test cannot take the network away; WHY_NOT says what this machine lacks.
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "nothing")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle of this clone, for the Python that runs the tests."""
    clone = make_checkout(tmp_path_factory.mktemp("connected") / "clone")
    done = clone.make("bundle", "FOR=embedded", f"PYTHON_VERSION={OWN_PYTHON}", env=CACHES)
    assert done.returncode == 0, done.stderr
    written = next(clone.folder.glob("windrose-*-embedded-*.tar"))
    yield written
    written.unlink()


@pytest.fixture
def offline(bundle: Path, tmp_path: Path) -> Iterator[Offline]:
    """The clone out of the bundle; what runs there has a loopback, and ends with the command that started it."""
    folder = unpack(bundle, tmp_path)
    (folder / ".env").write_text("RUNTIME=embedded\n", encoding="utf-8")
    yield Offline(folder, ALONE, NO_ENGINE)
    shutil.rmtree(folder)


def test_stack_comes_up_where_there_is_neither_docker_nor_a_network(offline: Offline, bundle: Path) -> None:
    script = f"""
    ip route
    make load BUNDLE={bundle}
    make up
    make status
    make down
    .venv-airflow/bin/airflow version
    """

    done = offline.run("sh", "-ec", script)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == (f"loaded {bundle.name}; `make up` needs no network now", "3.3.2")
    assert any(line.startswith("airflow-scheduler  ") and " healthy " in line for line in lines), done.stdout
