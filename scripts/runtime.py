"""Where does Airflow run on this machine? The only place that asks; commands never do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from scripts import embedded_places as places
from scripts import embedded_start, images, process
from scripts.compose import ComposeStack
from scripts.embedded import EmbeddedStack
from scripts.engine_check import JOIN_GROUP, OLDEST_COMPOSE, parse_version, version_text
from scripts.errors import KitError
from scripts.runtime_interface import Runtime
from scripts.settings import Settings

PATIENCE = 10  # seconds for an answer of the engine
STAYS = "; the runs and connections of the time without it stay in .windrose/embedded"


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime, and why this one; '' where the person has said so."""

    stack: Runtime
    reason: str


def choose(settings: Settings) -> Runtime:
    """Return the runtime of this machine."""
    return decide(settings).stack


def decide(settings: Settings) -> Choice:
    """Return the runtime that RUNTIME names; with auto, what runs here already, else Docker where it answers."""
    if settings["RUNTIME"] == "compose":
        return Choice(ComposeStack(settings), "")
    if settings["RUNTIME"] == "embedded":
        return Choice(EmbeddedStack(settings), "")
    if embedded_start.current() is not None:
        return Choice(EmbeddedStack(settings), "without Docker, as it runs here already")
    refusal = why_no_engine()
    if refusal and images.BUILT.exists() and not places.DATABASE.exists():
        # An empty Airflow in place of a group's own, because its engine is slow to start, would be a fright.
        fix = "start the engine (`make engine CONFIRM=yes`); RUNTIME=embedded in .env begins an empty one without it"
        raise KitError("Docker", f"this clone's Airflow is there, but {refusal}", fix)
    if refusal:
        return Choice(EmbeddedStack(settings), f"without Docker: {refusal}")
    left = STAYS if places.DATABASE.exists() else ""
    return Choice(ComposeStack(settings), f"with Docker, whose engine answers{left}")


def why_no_engine() -> str:
    """Return what keeps Compose from being used, '' where nothing does; quick, because every command asks."""
    if not shutil.which("docker"):
        return "it is not installed"
    try:
        engine = process.run(["docker", "version", "--format={{.Server.Version}}"], timeout=PATIENCE, check=False)
        compose = process.run(["docker", "compose", "version", "--short"], timeout=PATIENCE, check=False)
    except KitError:
        return "its engine gives no answer"
    if engine.code != 0:
        refused = "permission denied" in engine.stderr.lower()
        return f"its engine is there, but not for you ({JOIN_GROUP})" if refused else "no engine answers"
    if compose.code != 0:
        return "Compose is missing"
    if parse_version(compose.stdout) < OLDEST_COMPOSE:
        return f"its Compose is {compose.stdout.strip()}, needed is {version_text(OLDEST_COMPOSE)}"
    return ""
