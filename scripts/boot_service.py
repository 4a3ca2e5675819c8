"""How does this clone's stack come back after a reboot: as a systemd unit of this user, or as a line for cron."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from scripts import process
from scripts.errors import KitError
from scripts.settings import ROOT, environment

UNIT = """\
# Written by `make service` in {clone}; `systemctl --user disable --now {name}` undoes it.
[Unit]
Description=Windrose in {clone}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={folder}
Environment="PATH={path}"
Environment=RUNTIME={runtime}
ExecStart={make} up
ExecStop={make} down
Restart=on-failure
RestartSec=30
TimeoutStartSec=30min
TimeoutStopSec=3min

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What was set up, and what the person has to do for it to last."""

    line: str
    to_do: str = ""


def has_systemd() -> bool:
    """Say whether this user has a systemd of their own now."""
    if not shutil.which("systemctl"):
        return False
    return process.run(["systemctl", "--user", "show-environment"], check=False, timeout=20).code == 0


def name_of(clone: Path = ROOT) -> str:
    """Return the unit's name, another one for each clone."""
    return f"windrose-{hashlib.sha256(str(clone).encode()).hexdigest()[:8]}.service"


def unit_text(clone: Path, runtime: str, path: str, make: str) -> str:
    """Return the unit; systemd reads a percent sign as its own.

    It names the runtime: while the machine boots, an engine that does not answer yet must not be taken for none.
    """
    folder, path = (text.replace("%", "%%") for text in (str(clone), path))
    return UNIT.format(clone=folder, folder=folder, name=name_of(clone), runtime=runtime, path=path, make=make)


def cron_line(runtime: str, clone: Path = ROOT) -> str:
    """Return the line that does the same for cron, which reads a percent sign as the end of the line."""
    quoted = shlex.quote(str(clone)).replace("%", r"\%")
    path = shlex.quote(usual_path()).replace("%", r"\%")
    return f"@reboot cd {quoted} && PATH={path} RUNTIME={runtime} make up >>.windrose/boot.log 2>&1"


def usual_path() -> str:
    """Return where programs are found now, and will be at boot."""
    return environment().get("PATH", "/usr/bin:/bin")


def install(runtime: str) -> Done:
    """Write the unit and let systemd start it at every boot."""
    name, folder = name_of(), unit_folder()
    make = shutil.which("make") or "/usr/bin/make"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(unit_text(ROOT, runtime, usual_path(), make), encoding="utf-8")
    except OSError as error:
        fix = f"add this line to your crontab instead: {cron_line(runtime)}"
        raise KitError(str(folder), f"cannot be written ({error.strerror})", fix) from error
    process.run(["systemctl", "--user", "daemon-reload"])
    process.run(["systemctl", "--user", "enable", name])
    return Done(f"{folder / name} runs `make up` when the machine boots", linger_advice())


def unit_folder() -> Path:
    """Return where systemd looks for the units of this user."""
    own = environment().get("XDG_CONFIG_HOME", "")
    return (Path(own) if own else Path.home() / ".config") / "systemd" / "user"


def linger_advice() -> str:
    """Return what is missing for services to run while their user is not logged in, '' where nothing is."""
    user = str(os.getuid())
    done = process.run(["loginctl", "show-user", user, "--property=Linger"], check=False, timeout=20)
    if done.stdout.strip() == "Linger=yes":
        return ""
    return (
        "without linger, systemd ends your processes when you log out and starts nothing at boot; run `loginctl "
        f"enable-linger`, or where it refuses ask an administrator for `loginctl enable-linger {user}`"
    )
