"""Where does the embedded runtime keep its things, and in which environment do its processes run?"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from scripts import airflow_venv, process
from scripts.settings import ROOT, STATE, environment, host_ca_bundle

HOME = STATE / "embedded"
DATABASE = HOME / "airflow.db"
GENERATED = HOME / "generated"
LOGS = HOME / "logs"  # what the processes say; the logs of tasks are in logs/, as everywhere
WANTED = HOME / "wanted.json"  # what make wants to run
STATE_FILE = HOME / "state.json"  # what the supervisor says of it
PORTS = HOME / "ports.json"
LOCK = HOME / "supervisor.lock"
PREPARED = HOME / "prepared.json"  # for which packages and which administrator the database was prepared
USER_HOME = HOME / "home"  # $HOME of Airflow and its tasks
HEARTBEATS = HOME / "heartbeats"
SSH = STATE / "ssh"  # the same folder that a container has as its ~/.ssh
IN_AIRFLOW = ROOT / "scripts" / "in_airflow"
START = IN_AIRFLOW / "start.py"
SHARED_FOLDERS = (ROOT / "logs", ROOT / "data")
# What tasks may take over from whoever typed `make up`: nothing that differs between a terminal and a boot.
TAKEN_OVER = ("LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL")
LONGEST_TMPDIR = 60  # Unix sockets below it have names of at most 107 letters


def owner() -> int:
    """Return whose files all of it is."""
    return os.getuid()


def make_folders() -> None:
    """Make every folder, for this user alone."""
    for folder in (HOME, GENERATED, LOGS, USER_HOME, HEARTBEATS, HOME / "tmp"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    for folder in SHARED_FOLDERS:
        folder.mkdir(exist_ok=True)
    SSH.mkdir(mode=0o700, parents=True, exist_ok=True)
    link(HOME / "config", ROOT / "config")  # Airflow imports airflow_local_settings.py from there
    link(USER_HOME / ".ssh", SSH)


def link(path: Path, target: Path) -> None:
    """Make a link that leads to the target, in place of one that leads elsewhere."""
    if path.is_symlink() and Path(os.readlink(path)) != target:
        path.unlink()
    if not path.is_symlink():
        path.symlink_to(target)


def airflow_environment() -> dict[str, str]:
    """Return the environment of Airflow's processes and of their tasks: no secret, little of the caller's own."""
    caller = environment()
    kept = {name: value for name, value in caller.items() if name in TAKEN_OVER or name.startswith("LC_")}
    user = pwd.getpwuid(os.getuid()).pw_name if has_name(os.getuid()) else str(os.getuid())
    certificates = host_ca_bundle()
    temporary = HOME / "tmp"
    return {
        "LANG": "C.UTF-8",
        "USER": user,
        "LOGNAME": user,
        **kept,
        "PATH": f"{airflow_venv.FOLDER / 'bin'}:{caller.get('PATH', '/usr/local/bin:/usr/bin:/bin')}",
        "HOME": str(USER_HOME),
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW_CONFIG": str(HOME / "airflow.cfg"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "WINDROSE_EMBEDDED": str(HOME),
        "WINDROSE_CERTIFICATES": str(certificates or ""),
        **({"TMPDIR": str(temporary)} if len(str(temporary)) <= LONGEST_TMPDIR else {}),
    }


def has_name(uid: int) -> bool:
    """Say whether the machine knows a user of this number."""
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def in_airflow(*command: str) -> list[str]:
    """Return the command that runs a program with Airflow's configuration put together."""
    return [str(airflow_venv.PYTHON), "-I", str(START), *command]


def run(*command: str, stdin: str | None = None, more: dict[str, str] | None = None) -> process.Completed:
    """Run a program beside Airflow to its end."""
    argv = in_airflow(*command)
    return process.run(
        argv, stdin=stdin, environment={**airflow_environment(), **(more or {})}, folder=ROOT, check=False
    )


def supervisor_command() -> list[str]:
    """Return the command that starts the supervisor."""
    return [sys.executable, "-m", "scripts.embedded_supervisor"]
