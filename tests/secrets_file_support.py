"""A secrets.yaml of a test's own, beside a home without keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.errors import KitError
from scripts.platforms import secrets_file
from scripts.platforms.plan import Plan

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDBbcEWCjBOAOImmXIqEOZMn3HvDwTXFtl97wTbRQfTn"
LOGIN = "platforms: {hpc: {lumi: {type: ssh, address: lumi.csc.fi, user: ada, key: mine%s}}}\n"
MINE = "connections: {ssh: {mine: {phrase: empty%s}}}\n"
Load = Callable[..., Plan]
Told = Callable[[str], str]


def load_text(folder: Path, text: str, **options: object) -> Plan:
    """Load a secrets.yaml with this text."""
    path = folder / "secrets.yaml"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return secrets_file.load(path, **options)  # type: ignore[arg-type]


def told_of(folder: Path, text: str) -> str:
    """Return what is said of a secrets.yaml that has problems."""
    with pytest.raises(KitError) as caught:
        load_text(folder, text)
    return str(caught.value)
