"""Which processes make up the embedded stack: what make writes down for the supervisor, and what that answers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scripts.embedded_processes import Identity

ProbeKind = Literal["api", "job", "file"]
WELL = "healthy"
GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One process that the supervisor keeps running."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    stamp: str  # of all that it reads only when it starts
    round: int  # one more asks for a restart
    probe: ProbeKind
    asked: str  # the port, the job or the file that the probe looks at
    grace: int  # seconds to end by itself
    last: bool = False  # stopped only after the others, who need it to end well


@dataclass(frozen=True, slots=True)
class Running:
    """What the supervisor says of one process."""

    name: str
    state: str  # starting, healthy, unhealthy, restarting, gave up
    pid: int
    started: int
    since: float  # seconds since 1970
    stamp: str
    round: int
    deaths: int  # in a row; forgotten after a minute of health
    said: str  # why it is not healthy


@dataclass(frozen=True, slots=True)
class State:
    """What the supervisor says, and who it is."""

    supervisor: Identity
    services: dict[str, Running]

    def is_alive(self) -> bool:
        """Say whether the one who wrote this still looks after it."""
        return self.supervisor.is_alive()

    def identities(self) -> list[Identity]:
        """Return the processes that were running when this was written."""
        return [Identity(s.pid, s.started, self.supervisor.boot) for s in self.services.values() if s.pid]


def write_json(path: Path, content: object) -> None:
    """Write a file for this user alone, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file says, {} where it is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_wanted(path: Path, services: list[Wanted], program: str) -> None:
    """Write what is wanted; the supervisor sees it within half a second."""
    write_json(path, {"program": program, "services": [asdict(service) for service in services]})


def read_wanted(path: Path) -> list[Wanted]:
    """Return what is wanted."""
    found = read_json(path).get("services", [])
    return [Wanted(**{**entry, "argv": tuple(entry["argv"])}) for entry in found]


def write_state(path: Path, state: State) -> None:
    """Write how it stands."""
    services = {name: asdict(service) for name, service in state.services.items()}
    write_json(path, {"supervisor": asdict(state.supervisor), "services": services})


def read_state(path: Path) -> State | None:
    """Return how it stands, None where nothing was ever started."""
    found = read_json(path)
    if not found:
        return None
    services = {name: Running(**entry) for name, entry in found["services"].items()}
    return State(Identity(**found["supervisor"]), services)
