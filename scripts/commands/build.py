"""Build the images whose inputs have changed."""

from __future__ import annotations

from scripts import runtime, settings
from scripts.errors import ExitCode


def run() -> int:
    """Build, without starting anything."""
    runtime.choose(settings.load()).build()
    return ExitCode.DONE
