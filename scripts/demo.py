"""The demo cluster: what this clone keeps for it, and how it stands among the platforms of secrets.yaml."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import yaml

from scripts.errors import KitError
from scripts.platforms.plan import Plan, SshPlatform
from scripts.platforms.references import PLATFORMS as PLATFORMS_VARIABLE
from scripts.settings import STATE

NAME = "slurm-demo"  # the service, and its host name
FOLDER = STATE / "demo"  # there from `make demo` until nothing is left of it
KEY = FOLDER / "keys" / "windrose-demo"
AUTHORITY = FOLDER / "authority" / "user_ca"
LOGIN = FOLDER / "login"  # what the cluster sees: whom it lets in
PLATFORMS = FOLDER / "platforms.yaml"  # there once the cluster is known; read as secrets.yaml is
HOST_KEY = "/cluster/ssh/ssh_host_ed25519_key.pub"  # in the container
USER = "researcher"
IDS = {"hpc-demo": ("hpc", "demo"), "cloud-cpouta-1": ("cloud", "cpouta-1")}
FACTS = {"scheduler": "slurm", "account": "project_demo", "partition": "standard", "scratch": "/scratch/project_demo"}
HOUR, YEAR = 3600, 365 * 24 * 3600


def is_wanted() -> bool:
    """Say whether the demo runs, or would with the stack."""
    return KEY.exists()


def forget() -> None:
    """Want it no longer; its folder goes when nothing is left of it."""
    PLATFORMS.unlink(missing_ok=True)
    KEY.unlink(missing_ok=True)


def prepare() -> None:
    """Make the key and the authority where they are missing, and sign the key anew."""
    from scripts import demo_keys  # imports cryptography, which takes longer than all the rest

    for folder, mode in ((FOLDER, 0o700), (KEY.parent, 0o700), (AUTHORITY.parent, 0o700), (LOGIN, 0o755)):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        folder.chmod(mode)
    for path in (KEY, AUTHORITY):
        if not path.exists():
            write(path, demo_keys.new_key(), 0o600)
    now = int(time.time())
    # Clocks differ a little; and the cluster is used for far less than a year without another `make up`.
    signed = demo_keys.sign(KEY.read_bytes(), AUTHORITY.read_bytes(), USER, after=now - HOUR, before=now + YEAR)
    write(KEY.with_name(f"{KEY.name}-cert.pub"), signed, 0o644)
    write(LOGIN / "user_ca.pub", demo_keys.public(AUTHORITY.read_bytes()), 0o644)


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file aside and rename it: whoever is killed half way leaves nothing half made."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.chmod(mode)
    draft.replace(path)


def write_platforms(address: str, port: int, host_key: str) -> None:
    """Write what secrets.yaml would say of the cluster."""
    found: dict[str, dict[str, object]] = {}
    for group, name in IDS.values():
        login = {"type": "ssh", "address": address, "port": port, "user": USER, "key": KEY.name, "host_key": host_key}
        found.setdefault(group, {})[name] = {**login, **FACTS, "description": "the demo cluster of `make demo`"}
    key = {"path": f"/run/secrets/{KEY.name}", "file": str(KEY), "phrase": "empty"}
    content = {"platforms": found, "connections": {"ssh": {KEY.name: key}}}
    write(PLATFORMS, yaml.safe_dump(content, sort_keys=False).encode(), 0o600)


def added_to(plan: Plan, own: Plan) -> Plan:
    """Return the plan with the demo's platforms; what secrets.yaml names itself stays as it says."""
    taken = {*plan.connections, *plan.pools}
    new = tuple(platform for platform in own.ssh if platform.id not in taken)
    if not new:
        return plan
    if {key.target for key in plan.keys} & {key.target for key in own.keys}:
        fix = "give yours another `path`, or end the demo with `make demo DOWN=yes`"
        raise KitError("secrets.yaml", f"a key has the path of the demo's, /run/secrets/{KEY.name}", fix)
    listed = [
        *plan.variables.get(PLATFORMS_VARIABLE, []),
        *({"id": each.id, "type": "ssh", "scheduler": "slurm"} for each in new),
    ]
    return dataclasses.replace(
        plan,
        connections={**plan.connections, **{each.id: own.connections[each.id] for each in new}},
        pools={**plan.pools, **{each.id: own.pools[each.id] for each in new}},
        variables={**plan.variables, PLATFORMS_VARIABLE: listed},
        ssh=(*plan.ssh, *new),
        keys=(*plan.keys, *own.keys),
    )


def platforms_of(plan: Plan) -> list[SshPlatform]:
    """Return the platforms of a plan that lead to the demo."""
    return [platform for platform in plan.ssh if platform.key == KEY.name]
