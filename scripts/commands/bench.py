"""Measure a stack of this clone: what benchmarks/ holds."""

from __future__ import annotations

import sys

from scripts import process, settings
from scripts.errors import ExitCode, KitError

FOLDER = settings.ROOT / "benchmarks"


def run() -> int:
    """Run the measurements beside whatever runs, under a project name of their own."""
    for script in sorted(FOLDER.glob("*.py")):
        argv = [sys.executable, str(script)]
        if process.interactive(argv, folder=settings.ROOT, environment=settings.environment()) != 0:
            raise KitError(f"benchmarks/{script.name}", "did not get to its end", "see the lines above")
    return ExitCode.DONE
