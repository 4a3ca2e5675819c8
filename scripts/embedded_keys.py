"""Without Docker, where do tasks find SSH keys? Each at its own place; one with a passphrase, opened, in memory.

The same program keeps them as in the container (in_airflow/keys.py); its folders all lie below one of ours in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from scripts import airflow_venv, embedded_machine, process
from scripts import embedded_places as places
from scripts.compose_keys import phrases, states_in
from scripts.embedded_services import Wanted
from scripts.errors import KitError
from scripts.platforms import key_list
from scripts.platforms.plan import Key, Plan
from scripts.platforms.secrets_file import SECRETS_FILE
from scripts.settings import ROOT, environment

IN_MEMORY = ("tmpfs", "ramfs")
PROGRAM = places.IN_AIRFLOW / "keys.py"
# Where the program looks, below its root.
LINK_TO_LIST, HOST, SECRETS, PRIVATE = "opt/windrose/key-list", "host", "run/secrets", "run/keys"
LIST = places.HOME / "keys"  # which keys there are; it holds no secret, and outlasts the machine's memory


def root() -> Path | None:
    """Return the folder of this clone in memory, None where the machine has no such place.

    /dev/shm comes first: the other one goes when its owner's last terminal is closed.
    """
    name = f"windrose-{os.getuid()}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
    for place in ("/dev/shm", environment().get("XDG_RUNTIME_DIR", "")):  # noqa: S108 - a folder of our own below it
        if place and os.access(place, os.W_OK) and embedded_machine.file_system(Path(place)) in IN_MEMORY:
            return Path(place) / name
    return None


def path_of(key: Key) -> str:
    """Return where tasks find a key: its own file, or the opened copy of one that has a passphrase."""
    if key.phrase.source == "none" and key.file is not None:
        return str(key.file)
    folder = root()
    if folder is None:
        problem = f"key {key.name}: this machine has no folder in memory for keys with a passphrase"
        fix = "use a key without one (`ssh-keygen -p` makes it so), or Docker"
        raise KitError(f"secrets.yaml line {key.line}", problem, fix)
    return str(folder / SECRETS / key.target)


def write(plan: Plan) -> None:
    """Write which keys are kept; without any, forget what was kept."""
    if root() is None or not key_list.kept(plan.keys):
        forget()
    else:
        key_list.write(plan.keys, SECRETS_FILE, LIST, None)
        make_folders()


def make_folders() -> None:
    """Make what the process that keeps them needs, where there are keys to keep."""
    folder = root()
    if folder is not None and are_wanted():
        make_own(folder)


def make_own(folder: Path) -> None:
    """Make a folder in memory for this user alone; what somebody else has put there is refused."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise KitError(str(folder), "was made by another user", "ask them, or an administrator, to delete it")
    for name in (LINK_TO_LIST, SECRETS, PRIVATE):
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (SECRETS, PRIVATE):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    places.link(folder / HOST, Path("/"))
    places.link(folder / LINK_TO_LIST, LIST)


def remove() -> None:
    """Delete what is in memory: opened keys and phrases."""
    folder = root()
    if folder is not None and folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
        shutil.rmtree(folder)


def forget() -> None:
    """Forget which keys there are."""
    (LIST / key_list.NAME).unlink(missing_ok=True)


def are_wanted() -> bool:
    """Say whether there are keys to look after, and memory to keep them in."""
    return (LIST / key_list.NAME).exists() and root() is not None


def service(number: int) -> Wanted:
    """Return the process that keeps them."""
    folder = root()
    own = {"WINDROSE_KEYS_ROOT": str(folder), "WINDROSE_TASK_UID": str(os.getuid())}
    programs = (PROGRAM, PROGRAM.with_name("private_key.py"))
    stamp = hashlib.sha256(json.dumps(own).encode() + b"".join(path.read_bytes() for path in programs)).hexdigest()[:12]
    argv = (str(airflow_venv.PYTHON), "-IS", str(PROGRAM))
    heartbeat = f"{folder}/{PRIVATE}/heartbeat"
    return Wanted("keys", argv, {**places.airflow_environment(), **own}, stamp, number, "file", heartbeat, grace=5)


def ask(*words: str, stdin: str | None = None) -> dict[str, dict[str, Any]]:
    """Ask the process that keeps them, {} where it says nothing."""
    argv = [str(airflow_venv.PYTHON), "-IS", str(PROGRAM), *words]
    own = {"WINDROSE_KEYS_ROOT": str(root()), "PATH": environment().get("PATH", "")}
    return states_in(process.run(argv, stdin=stdin, environment=own, check=False).stdout)


def unlock(plan: Plan) -> dict[str, dict[str, Any]]:
    """Hand over the passphrases; return the state of each key."""
    return ask("unlock", stdin=json.dumps(phrases(plan.keys)))


def states() -> dict[str, dict[str, Any]]:
    """Return the state of each key."""
    return ask("state")
