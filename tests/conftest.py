"""What every tier of tests shares. Nothing here needs more than pytest: the dags tier runs beside Airflow."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Airflow writes into its home as soon as it is imported; never into the home of whoever runs the tests.
os.environ.setdefault("AIRFLOW_HOME", str(ROOT / ".windrose" / "test" / "airflow"))

# What a shell starts in the background ignores an interrupt, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

RunMake = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project as git has it, with this checkout's `.venv`, free to be changed."""
    from scripts import tree

    return tree.copy_to(tmp_path / "clone")


@pytest.fixture
def run_make() -> RunMake:
    """Run make in a folder as a person would, without a terminal, and return all that it printed."""

    def run(
        folder: Path, *words: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *words],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
