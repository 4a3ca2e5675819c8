"""Measure a stack of this clone from start to idle: what benchmarks/ holds."""

from __future__ import annotations

import sys

from scripts import process, settings
from scripts.errors import ExitCode, KitError

SCRIPT = settings.ROOT / "benchmarks" / "stack.py"


def run() -> int:
    """Run the measurement beside whatever runs, under a project name of its own."""
    code = process.interactive([sys.executable, str(SCRIPT)], folder=settings.ROOT, environment=settings.environment())
    if code != 0:
        raise KitError("benchmark", "did not get to its end", "see the lines above")
    return ExitCode.DONE
