"""Let the stack come back after a reboot: the only command that writes outside the clone."""

from __future__ import annotations

from scripts import boot_service, runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode


def run() -> int:
    """Install a systemd unit of this user, or print the line for cron."""
    name = runtime.choose(settings.load()).name
    if not boot_service.has_systemd():
        progress("no systemd of your own answers here; add this line with `crontab -e`:")
        say(boot_service.cron_line(name))
        return ExitCode.DONE
    done = boot_service.install(name)
    say(done.line)
    if done.to_do:
        say(done.to_do)
    return ExitCode.DONE
