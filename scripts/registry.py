"""Pulling images: through the private mirror and with the login that `.env` names, and why one cannot be pulled."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import process
from scripts.console import progress
from scripts.errors import KitError
from scripts.package_index import write_private
from scripts.settings import STATE, Settings

REFUSED = ("unauthorized", "no basic auth credentials", "authentication required", "denied")
REASONS = (
    ("no such host", "the registry's name is not found"),
    ("lookup", "the registry's name is not found"),
    ("timeout", "the registry does not answer"),
    ("connection refused", "the registry refuses the connection"),
    ("x509", "the engine does not trust the registry's certificate"),
    ("http response to https client", "the registry speaks no TLS, which the engine wants"),
    ("not found", "the registry does not have it"),
    ("manifest unknown", "the registry does not have it"),
)


def pull(tag: str, settings: Settings) -> str | None:
    """Pull an image; return why it cannot be had, or None. A login that is refused is a mistake, and raised."""
    progress(f"pulling {tag}")
    lines: list[str] = []
    with login(settings) as docker:
        code = process.stream([*docker, "pull", "--quiet", tag], on_line=lines.append)
    if code == 0:
        return None
    if settings["IMAGE_REGISTRY"] and any(sign in " ".join(lines).lower() for sign in REFUSED):
        raise refusal(settings)
    return f"{tag} cannot be pulled ({reason_of(lines)})"


def reason_of(lines: list[str]) -> str:
    """Return why a pull failed, in words."""
    text = " ".join(lines).lower()
    return next((reason for sign, reason in REASONS if sign in text), lines[-1][-200:] if lines else "no reason given")


def refusal(settings: Settings) -> KitError:
    """Say which setting opens the registry."""
    registry = settings["IMAGE_REGISTRY"]
    if settings["IMAGE_REGISTRY_USER"]:
        return KitError(registry, "refuses the login", "mend IMAGE_REGISTRY_USER and IMAGE_REGISTRY_PASSWORD in .env")
    fix = "set IMAGE_REGISTRY_USER and IMAGE_REGISTRY_PASSWORD in .env, or run `docker login`"
    return KitError(registry, "wants a login", fix)


@contextmanager
def login(settings: Settings) -> Iterator[list[str]]:
    """Give the docker command that is logged in to the mirror; the login is gone afterwards, and in no argument."""
    if not settings["IMAGE_REGISTRY_USER"]:
        yield ["docker"]
        return
    host = settings["IMAGE_REGISTRY"].split("/")[0]
    words = f"{settings['IMAGE_REGISTRY_USER']}:{settings['IMAGE_REGISTRY_PASSWORD']}"
    theirs = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    config = read_config(theirs / "config.json")
    config["auths"] = {**config.get("auths", {}), host: {"auth": base64.b64encode(words.encode()).decode()}}
    # A helper program that keeps the person's logins is not asked for this one.
    config["credHelpers"] = {**config.get("credHelpers", {}), host: ""}
    STATE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="docker-", dir=STATE) as folder:
        write_private(Path(folder) / "config.json", json.dumps(config))
        # Which engine is meant may stand in a context of theirs.
        (Path(folder) / "contexts").symlink_to(theirs / "contexts")
        yield ["docker", "--config", folder]


def read_config(path: Path) -> dict[str, dict[str, object]]:
    """Return what Docker's command is configured with, {} where that is nothing or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
