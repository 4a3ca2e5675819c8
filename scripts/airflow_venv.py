"""Where is an Airflow on this machine itself: `.venv-airflow`, with the versions of the image."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts import bundle_manifest, process, settings
from scripts.console import progress
from scripts.errors import KitError
from scripts.package_index import index_environment, without_password
from scripts.settings import ROOT

FOLDER = ROOT / ".venv-airflow"
PYTHON = FOLDER / "bin" / "python"
STAMP = FOLDER / "ready"
EXTRA_STAMP = FOLDER / "extra"
INPUTS = ("packages.txt", "packages.local.txt", "constraints.txt")
OLDEST, NEWEST = (3, 11), (3, 14)
STEPS = ("Resolved", "Downloading", "Prepared", "Installed", "Bytecode compiled")  # of what uv says, what is shown
UV = Path(sys.executable).with_name("uv")


def is_ready() -> bool:
    """Say whether it has the packages that are wanted now."""
    return read(STAMP) == fingerprint()


def ensure_airflow_venv(extra: Sequence[str] = ()) -> Path:
    """Make `.venv-airflow` where it is missing or its packages have changed; return its Python."""
    if not is_ready():
        make(fingerprint())
    missing = sorted(set(extra) - set(read(EXTRA_STAMP).split("\n")))
    if missing:
        install(*missing)
        EXTRA_STAMP.write_text("\n".join(sorted({*missing, *read(EXTRA_STAMP).split("\n")} - {""})), encoding="utf-8")
    return PYTHON


def make(wanted: str) -> None:
    """Make it anew; the stamp comes last, so that a killed run is repeated."""
    progress("preparing .venv-airflow (about a minute the first time)")
    uv("venv", "--quiet", "--clear", "--python", choose_python(), str(FOLDER))
    install(*(f"--requirement={ROOT / name}" for name in INPUTS[:2] if (ROOT / name).exists()))
    STAMP.write_text(wanted, encoding="utf-8")


def install(*words: str) -> None:
    """Install at the locked versions, compiled: the first start is then as quick as the second."""
    lock = f"--constraint={ROOT / 'constraints.txt'}"
    uv("pip", "install", "--compile-bytecode", "--python", str(PYTHON), lock, *loaded_wheels(), *words)


def loaded_wheels() -> list[str]:
    """Return the words that take the wheels of a loaded bundle in place of the index; [] where none was loaded."""
    if not loaded_python():
        return []
    return ["--offline", "--no-index", f"--find-links={bundle_manifest.LOADED_WHEELS}"]


def loaded_python() -> str:
    """Return the Python that a loaded bundle has Airflow's wheels for, '' where it has none."""
    manifest = bundle_manifest.loaded() if bundle_manifest.LOADED_WHEELS.is_dir() else None
    return manifest.python if manifest else ""


def uv(*words: str) -> None:
    """Run uv, one line a step."""
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if line.strip().startswith(STEPS):
            progress(f"  {line.strip()}")

    with index_environment(settings.load()) as known:
        code = process.stream([str(UV), *words], on_line=tell, environment=known)
    if code != 0:
        for line in [line for line in lines if line.strip()][-10:]:
            progress(f"  {without_password(line)[:300]}")
        fix = "mend what it says above (network, proxy, PACKAGE_INDEX, packages.local.txt), then run it again"
        if loaded_python():
            fix = "load the bundle of this release, or delete .windrose/wheels to use the package index"
        raise KitError(f"uv {words[0]}", "could not prepare .venv-airflow", fix)


def choose_python() -> str:
    """Return the Python we run on, if Airflow runs on it; else any that uv finds."""
    loaded = loaded_python()
    if loaded and loaded != "{}.{}".format(*sys.version_info[:2]):
        return loaded
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    return f">={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"


def fingerprint() -> str:
    """Return what `.venv-airflow` is made from, as one word."""
    digest = hashlib.sha256(sys.version.encode())
    for name in INPUTS:
        path = ROOT / name
        digest.update(f"\n{name}\n".encode() + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def read(path: Path) -> str:
    """Return the text of a stamp, '' where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""
