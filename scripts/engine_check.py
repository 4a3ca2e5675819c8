"""Does a Docker Engine with a recent Compose and Buildx answer?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scripts import process
from scripts.errors import KitError

OLDEST_COMPOSE = (2, 24)
JOIN_GROUP = "run `sudo usermod -aG docker $USER` and log in again"  # the mend of a refusal
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineState:
    """What answered, as versions; empty where nothing did."""

    engine: str
    compose: str
    buildx: str
    refusal: str = ""

    @property
    def missing(self) -> list[str]:
        """Return what is missing, in words."""
        reasons = []
        if not self.engine:
            reasons.append(self.refusal or "no Docker Engine answers")
        if not self.compose:
            reasons.append("Docker Compose is missing")
        elif parse_version(self.compose) < OLDEST_COMPOSE:
            reasons.append(f"Docker Compose is {self.compose}, needed is {version_text(OLDEST_COMPOSE)}")
        if not self.buildx:
            reasons.append("Docker Buildx is missing")
        return reasons


def check_engine() -> EngineState:
    """Ask the engine and the two plugins; a client on PATH alone proves nothing."""
    engine = ask(["docker", "version", "--format", "{{.Server.Version}}"])
    refusal = "this user may not use the Docker Engine" if "permission denied" in engine.stderr.lower() else ""
    compose = ask(["docker", "compose", "version", "--short"])
    buildx = ask(["docker", "buildx", "version"])
    return EngineState(
        engine=engine.stdout.strip() if engine.code == 0 else "",
        compose=compose.stdout.strip().removeprefix("v") if compose.code == 0 else "",
        buildx=first_version(buildx.stdout) if buildx.code == 0 else "",
        refusal=refusal,
    )


def ask(argv: list[str]) -> process.Completed:
    """Run a question that may find no program, no engine or no answer."""
    try:
        return process.run(argv, timeout=20, check=False)
    except KitError as error:
        return process.Completed(127, "", str(error))


def parse_version(text: str) -> Version:
    """Return the leading numbers: `2.26.1-4` is (2, 26, 1), with or without Debian's epoch."""
    found = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def first_version(text: str) -> str:
    """Return the first word that is a version: `<name> 0.13.1+ds1 ...`."""
    found = re.search(r"(?<!\S)v?(\d+\.\d+[^\s]*)", text)
    return found[1] if found else text.strip()


def version_text(version: Version) -> str:
    """Return a version as it is written."""
    return ".".join(str(part) for part in version)
