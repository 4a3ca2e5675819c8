"""Show what the services say."""

from __future__ import annotations

from scripts import runtime, settings
from scripts.errors import UsageError


def run() -> int:
    """Follow the logs of all services, or of one."""
    arguments = settings.arguments()
    lines = arguments["LINES"] or "200"
    if not lines.isdecimal():
        raise UsageError("LINES", f"is {lines!r}", "write a whole number, for example LINES=50")
    if arguments["FOLLOW"] not in ("", "yes", "no"):
        raise UsageError("FOLLOW", f"is {arguments['FOLLOW']!r}", "write FOLLOW=no to show the lines and end")
    follow = arguments["FOLLOW"] != "no"
    return runtime.choose(settings.load()).follow_logs(arguments["SERVICE"], lines=int(lines), follow=follow)
