"""Open a shell that has the airflow command."""

from __future__ import annotations

from scripts import runtime, settings


def run() -> int:
    """Open it on the user's terminal."""
    return runtime.choose(settings.load()).shell()
