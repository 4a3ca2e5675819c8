"""What the platforms of secrets.yaml need of the containers: folders of keys, ~/.ssh of the tasks, the keys service."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import demo
from scripts.platforms import key_list, ssh_files
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import EMPTY, Key, Plan
from scripts.settings import STATE

OVERLAY = STATE / "docker-compose.keys.yaml"
KEY_LIST = STATE / "keys"
SSH = STATE / "ssh"
INSIDE = "/run/secrets"  # where the tasks find the keys
HOST = "/host"  # below it the keys service finds the folders of this machine


def write(plan: Plan, secrets_file: Path, uid: int) -> None:
    """Write which keys are kept, which folders they lie in, and what ssh knows; containers see it at once."""
    folders = key_list.mounts(plan.keys, secrets_file)
    key_list.write(plan.keys, secrets_file, KEY_LIST, None)
    ssh_files.write(plan, KnownHosts.read(), SSH, uid if os.geteuid() == 0 else None)
    write_overlay(folders)


def ensure(secrets_file: Path, uid: int) -> None:
    """Make what the containers mount, where nothing was registered yet; forget the keys of a file that is gone."""
    has_platforms = secrets_file.exists() or demo.PLATFORMS.exists()
    if not has_platforms or not (KEY_LIST / "keys.json").exists():
        write(EMPTY, secrets_file, uid)


def write_overlay(folders: Sequence[Path]) -> None:
    """Write the part of the stack's description that only this machine knows: where its keys lie."""
    if not folders:
        OVERLAY.unlink(missing_ok=True)
        return
    volumes = [
        # Compose reads a dollar as the begin of a variable.
        {"type": "bind", "source": str(path).replace("$", "$$"), "target": f"{HOST}{path}".replace("$", "$$")}
        | {"read_only": True, "bind": {"create_host_path": False}}
        for path in folders
    ]
    text = json.dumps({"services": {"keys": {"volumes": volumes}}}, indent=2) + "\n"
    if not OVERLAY.exists() or OVERLAY.read_text(encoding="utf-8") != text:
        OVERLAY.write_text(text, encoding="utf-8")


def folders() -> set[str]:
    """Return the places of this machine that the keys service should see."""
    if not OVERLAY.exists():
        return set()
    volumes = json.loads(OVERLAY.read_text(encoding="utf-8"))["services"]["keys"]["volumes"]
    return {volume["source"].replace("$$", "$") for volume in volumes}


def phrases(keys: Sequence[Key]) -> dict[str, str]:
    """Return the passphrases that are known now, by the names that the keys have in the containers."""
    return {key.target: key.phrase.value.get_secret_value() for key in keys if key.phrase.value is not None}


def states_in(text: str) -> dict[str, dict[str, Any]]:
    """Return what the keys service said, {} where it said nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
