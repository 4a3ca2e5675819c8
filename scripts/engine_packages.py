"""Which packages bring Docker Engine, Compose and Buildx on this machine?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.engine_check import OLDEST_COMPOSE, parse_version, version_text
from scripts.errors import KitError

DOCKERS_OWN = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
ENGINE = ("iptables", "ca-certificates", "containerd", "runc")
# Debian 12 ships Compose 1.29; these are in the next release and install beside its libc.
NEWER_SUITE = "trixie"
FROM_NEWER = ("docker.io", "docker-cli", "docker-compose", "docker-buildx")
ASKED = ("docker-ce", "docker.io", "docker-cli", "docker-compose-v2", "docker-compose", "docker-buildx")


@dataclass(frozen=True, slots=True)
class System:
    """Which distribution this is, from /etc/os-release."""

    name: str
    codename: str
    title: str


@dataclass(frozen=True, slots=True)
class Package:
    """What apt knows of a package: '' is none."""

    installed: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is installed, and the suite that is added for it ('' is none)."""

    packages: tuple[str, ...]
    origin: str
    suite: str = ""


def system_of(fields: Mapping[str, str]) -> System:
    """Name the system that os-release describes: the distribution itself, or the one it is made from."""
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    name = next((name for name in names if name in ("debian", "ubuntu")), names[0])
    codename = fields.get("VERSION_CODENAME", "")
    if name == "ubuntu":
        codename = fields.get("UBUNTU_CODENAME", codename)
    return System(name, codename, fields.get("PRETTY_NAME", name))


def parse_policy(text: str) -> dict[str, Package]:
    """Read the answer of `apt-cache policy NAME...`."""
    found: dict[str, Package] = {}
    for block in re.split(r"^(?=\S+:$)", text, flags=re.MULTILINE):
        match = re.match(r"(\S+):\n\s+Installed: (\S+)\n\s+Candidate: (\S+)", block)
        if match:
            found[match[1]] = Package(*("" if word == "(none)" else word for word in match.groups()[1:]))
    return found


def choose_packages(system: System, known: Mapping[str, Package]) -> Plan:
    """Choose what to install: the family that is there already, else Docker's own where configured, else Debian's."""
    if system.name not in ("debian", "ubuntu"):
        fix = "install Docker Engine, Compose and Buildx by your system's own means, then run `make up`"
        raise KitError("make engine", f"knows Debian and Ubuntu only, this is {system.title}", fix)
    if known["docker-ce"].candidate and not known["docker.io"].installed:
        return Plan(DOCKERS_OWN, "Docker's own apt repository, as configured here")
    client = ("docker-cli",) if known["docker-cli"].candidate else ()
    for compose in ("docker-compose-v2", "docker-compose"):
        if is_recent(known[compose].candidate) and known["docker-buildx"].candidate:
            return Plan((*ENGINE, "docker.io", *client, compose, "docker-buildx"), system.title)
    if system.name == "debian" and system.codename == "bookworm":
        newer = tuple(f"{name}/{NEWER_SUITE}" for name in FROM_NEWER)
        return Plan((*ENGINE, *newer), f"{system.title}, and its next release {NEWER_SUITE} pinned at 100", NEWER_SUITE)
    problem = f"{system.title} offers no Docker Compose {version_text(OLDEST_COMPOSE)} or newer with Buildx"
    raise KitError("make engine", problem, "configure Docker's own apt repository, then run `make engine CONFIRM=yes`")


def is_recent(version: str) -> bool:
    """Say whether a packaged Compose is recent enough."""
    return parse_version(version) >= OLDEST_COMPOSE
