"""Which platforms does secrets.yaml describe, as tasks see it? Registration writes them into a variable."""

from __future__ import annotations

from typing import NotRequired, TypedDict

VARIABLE = "windrose_platforms"


class Platform(TypedDict):
    """A platform: the id of its connection, its type in secrets.yaml, and its batch system if it has one."""

    id: str
    type: str
    scheduler: NotRequired[str]


def registered_platforms() -> list[Platform]:
    """Return the platforms that `make connections` has registered; to be called in a task."""
    from airflow.sdk import Variable

    found: list[Platform] = Variable.get(VARIABLE, default=[], deserialize_json=True)
    return found


def choose(platforms: list[Platform], name: str) -> list[Platform]:
    """Return the platform of this name, all where none is named; raise where there is no such one."""
    chosen = [platform for platform in platforms if name in ("", platform["id"])]
    if name and not chosen:
        known = ", ".join(platform["id"] for platform in platforms) or "none"
        raise ValueError(f"{name} is no platform of secrets.yaml (registered: {known}); run `make connections`.")
    return chosen
