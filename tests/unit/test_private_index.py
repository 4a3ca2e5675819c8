"""`.venv` and `.venv-airflow` come from a site's private index: with a password, behind a certificate of the site."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import tree
from tests.mirror_support import PASSWORD, Mirror, private_index

MAKE_VENV = ("python3", "scripts/make_venv.py")
MAKE_AIRFLOW = (sys.executable, "-c", "from scripts import airflow_venv; airflow_venv.make('made')")
CONFIGURED_OTHERWISE = ("PIP_", "UV_", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Mirror]:
    """The index of a site."""
    with private_index("127.0.0.1", tmp_path) as mirror:
        yield mirror


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project whose environments hold one package, which only the site's index has."""
    folder = tree.copy_to(tmp_path / "clone")
    for name in ("scripts/requirements.txt", "packages.txt"):
        (folder / name).write_text("windrose-probe==1.0\n", encoding="utf-8")
    (folder / "constraints.txt").write_text("", encoding="utf-8")
    return folder


def make(clone: Path, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Make an environment on a machine whose own pip is not configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURED_OTHERWISE)}
    if argv is MAKE_VENV:
        (clone / ".venv").unlink()
    return subprocess.run(argv, cwd=clone, env=kept, capture_output=True, text=True, timeout=120, check=False)


def configure(clone: Path, **settings: str) -> None:
    """Write `.env`."""
    lines = [f"{key}={value}\n" for key, value in settings.items()]
    (clone / ".env").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize(("argv", "folder"), [(MAKE_VENV, ".venv"), (MAKE_AIRFLOW, ".venv-airflow")])
def test_environment_comes_from_the_index_and_nobody_sees_its_password(
    index: Mirror, clone: Path, argv: tuple[str, ...], folder: str
) -> None:
    configure(clone, PACKAGE_INDEX=index.address, BUILD_CA_BUNDLE=str(index.authority))

    done = make(clone, argv)

    assert done.returncode == 0, done.stderr
    assert list((clone / folder).glob("lib/python3*/site-packages/windrose_probe.py"))
    assert index.asked
    assert index.exposed == []
    assert PASSWORD not in done.stdout + done.stderr
    left = [path for path in (clone / ".windrose").rglob("*") if path.is_file() and path.suffix in (".toml", ".conf")]
    assert left == []


@pytest.mark.parametrize("argv", [MAKE_VENV, MAKE_AIRFLOW], ids=["venv", "venv-airflow"])
@pytest.mark.parametrize("mistake", ["certificate", "password"])
def test_refusal_is_told_without_the_password(index: Mirror, clone: Path, argv: tuple[str, ...], mistake: str) -> None:
    if mistake == "password":
        wrong = index.address.replace(PASSWORD, f"not-{PASSWORD}")
        configure(clone, PACKAGE_INDEX=wrong, BUILD_CA_BUNDLE=str(index.authority))
    else:
        configure(clone, PACKAGE_INDEX=index.address)

    done = make(clone, argv)

    assert done.returncode != 0
    assert "PACKAGE_INDEX" in done.stderr.strip().splitlines()[-1], done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_mistake_in_the_settings_is_told_before_anything_is_made(clone: Path) -> None:
    configure(clone, PACKAGE_INDEX="mirror.example/simple")

    done = make(clone, MAKE_VENV)

    told = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, told.split(";")[0]) == (1, ".env line 1: PACKAGE_INDEX is not usable")
    assert not (clone / ".venv").exists()
