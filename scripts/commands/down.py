"""Stop the stack; database, logs and secrets stay."""

from __future__ import annotations

from scripts import runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode


def run() -> int:
    """Stop everything."""
    progress("stopping; running tasks have a minute to finish")
    runtime.choose(settings.load()).stop()
    say("stopped; nothing is lost, `make up` brings it back")
    return ExitCode.DONE
