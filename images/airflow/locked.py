"""What the lock says, read the same way by the installation and by the check after it."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "constraints.txt"
# Tools of the base image that are no part of what Airflow runs on.
TOOLS = {"pip", "uv", "setuptools", "wheel"}


def normalized(name: str) -> str:
    """Return a distribution's name the way indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions() -> dict[str, str]:
    """Return name -> version of every line of the lock that holds for this Python."""
    from packaging.requirements import Requirement

    versions = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            versions[normalized(requirement.name)] = next(iter(requirement.specifier)).version
    return versions


def installed_versions() -> dict[str, str]:
    """Return name -> version of everything installed, tools aside."""
    found = {normalized(distribution.metadata["Name"]): distribution.version for distribution in distributions()}
    return {name: version for name, version in found.items() if name not in TOOLS}
