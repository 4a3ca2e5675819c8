"""Restart the services, or one of them."""

from __future__ import annotations

from scripts import runtime, settings
from scripts.console import say
from scripts.errors import ExitCode


def run() -> int:
    """Restart and wait until healthy."""
    runtime.choose(settings.load()).restart(settings.arguments()["SERVICE"])
    say("healthy again")
    return ExitCode.DONE
