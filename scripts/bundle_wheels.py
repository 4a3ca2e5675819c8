"""The wheels of a bundle: everything that `.venv` and `.venv-airflow` are made of, for the machine it goes to."""

from __future__ import annotations

import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts import airflow_venv, process
from scripts.bundle_manifest import machine_name
from scripts.console import progress
from scripts.errors import KitError, UsageError
from scripts.package_index import index_environment, without_password
from scripts.settings import ROOT, STATE, Settings

REQUIREMENTS = ROOT / "scripts" / "requirements.txt"
PYTHONS = tuple(f"3.{minor}" for minor in range(airflow_venv.OLDEST[1], airflow_venv.NEWEST[1] + 1))
NEWEST_PATCH = 99
GLIBC = "2.28"  # that of Enterprise Linux 8; older wheels run on it, too
GLIBC_MINORS = (28, 27, 26, 24, 17, 12, 5)
OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
UV_PLATFORMS = {
    "linux": "{machine}-manylinux_2_28",
    "darwin": "{machine}-apple-darwin",
}


def choose_python(given: str) -> str:
    """Return the Python that Airflow's wheels are for: PYTHON_VERSION, or that of this machine."""
    if not given:
        own = "{}.{}".format(*sys.version_info[:2])
        return own if own in PYTHONS else PYTHONS[-1]
    # Official Python images set PYTHON_VERSION=3.13.1: the patch release does not matter.
    found = re.match(r"(\d+\.\d+)(\.\d+)?$", given)
    if not found or found[1] not in PYTHONS:
        raise UsageError("PYTHON_VERSION", f"{given} is none that Airflow runs on", f"take one of {', '.join(PYTHONS)}")
    return found[1]


def download(folder: Path, settings: Settings, airflow_python: str = "") -> None:
    """Fetch the wheels of `.venv` for every Python, and of `.venv-airflow` for one."""
    folder.mkdir()
    with index_environment(settings) as known:
        command = [*make_pip(folder.parent / "pip", known), "download", f"--dest={folder}"]
        for python in PYTHONS:
            progress(f"wheels of .venv for Python {python}")
            fetch_all(command, python, known, [str(REQUIREMENTS)])
        if airflow_python:
            progress(f"wheels of .venv-airflow for Python {airflow_python} (a minute or two)")
            wanted = [str(path) for name in airflow_venv.INPUTS[:2] if (path := ROOT / name).exists()]
            fetch_all(command, airflow_python, known, [*wanted, f"--constraint={ROOT / 'constraints.txt'}"])


def fetch_all(command: list[str], python: str, known: Mapping[str, str], words: list[str]) -> None:
    """Download what the oldest and the newest patch release of a Python need: the lock tells some of them apart."""
    have: set[str] = set()
    for exact in (f"{python}.0", f"{python}.{NEWEST_PATCH}"):
        missing = set(resolve(exact, known, words).splitlines()) - have
        if missing:
            fetch(command, missing, exact, known)
        have |= missing


def make_pip(folder: Path, known: Mapping[str, str]) -> list[str]:
    """Make a pip of our own, for uv downloads no wheels; return its command."""
    run([str(airflow_venv.UV), "venv", "--quiet", "--seed", f"--python={sys.executable}", str(folder)], known)
    return [str(folder / "bin" / "python"), "-m", "pip"]


def resolve(python: str, known: Mapping[str, str], words: list[str]) -> str:
    """Return what to install on that Python, every version pinned: pip itself would ask the Python it runs on."""
    argv = [str(airflow_venv.UV), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary=:all:"]
    argv += ["--no-emit-index-url", "--no-emit-find-links", f"--python-version={python}", *platform_words()]
    return run([*argv, *words], known)


def platform_words() -> list[str]:
    """Return uv's words for machines like this one."""
    system = platform.system().lower()
    name = UV_PLATFORMS.get(system, "").format(machine=machine_name(platform.machine()))
    return [f"--python-platform={name}"] if name else []


def fetch(command: list[str], wanted: set[str], python: str, known: Mapping[str, str]) -> None:
    """Download wheels, each of a version."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=STATE) as listed:
        listed.write("\n".join(sorted(wanted)))
        listed.flush()
        words = ["--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={python}"]
        run([*command, *words, *(f"--platform={tag}" for tag in tags()), f"--requirement={listed.name}"], known)


def tags() -> list[str]:
    """Return what wheels may be called that run on the oldest system we ship for; [] is as on this machine."""
    if platform.system() != "Linux":
        return []
    machine = machine_name(platform.machine())
    return [f"{name}_{machine}" for name in (*(f"manylinux_2_{minor}" for minor in GLIBC_MINORS), *OLD_NAMES)]


def run(argv: list[str], known: Mapping[str, str]) -> str:
    """Run uv or pip; where it fails, show its last words without the password of the index."""
    done = process.run(argv, environment=known, check=False)
    if done.code != 0:
        for line in (done.stderr or done.stdout).strip().splitlines()[-10:]:
            progress(f"  {without_password(line)[:300]}")
        fix = "mend what it says above (network, PACKAGE_INDEX, a package without a wheel), then run it again"
        raise KitError(Path(argv[0]).name, "could not fetch the wheels", fix)
    return done.stdout
