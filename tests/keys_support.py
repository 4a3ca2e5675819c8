"""The keys service's places below one folder, and a clock that a test turns."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

from scripts.in_airflow import keys, private_key
from tests import ssh_key_support as kit

FOLDER = "/home/airflow/.ssh"
NO_PHRASE = {"source": "none"}
ASKED = {"source": "asked"}


class Stack:
    """The service's places below one folder, and a clock that a test turns."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = root / "host"
        self.secrets = root / "run/secrets"
        self.keeper = keys.Keeper(keys.Places(*(str(root) + path for path in astuple(keys.Places()))), 0o400)
        self.now = 1000.0
        for path in (self.folder, self.secrets, root / "run/keys", root / "opt/windrose/key-list"):
            path.mkdir(parents=True)

    @property
    def folder(self) -> Path:
        return self.host / FOLDER[1:]

    def list_keys(self, *entries: dict[str, Any], **more: Any) -> None:
        text = json.dumps({"version": 1, "keys": entries, **more})
        self.write_list(text.encode())

    def write_list(self, data: bytes) -> None:
        kit.put(self.root / "opt/windrose/key-list/new", data).rename(self.root / "opt/windrose/key-list/keys.json")

    def ask(self, **phrases: str) -> None:
        kit.put(self.root / "run/keys/new", json.dumps(phrases).encode()).rename(self.root / "run/keys/phrases.json")

    def wait(self, seconds: float = 2) -> Stack:
        self.now += seconds
        self.keeper.go_round(self.now)
        return self

    def state(self, target: str = "hpc") -> tuple[str, float | None, str]:
        told = json.loads((self.root / "run/keys/state.json").read_text())["keys"][target]
        assert list(told) == ["state", "certificate_until", "certificate"]
        return told["state"], told["certificate_until"], told["certificate"]

    def copies(self) -> dict[str, bytes | None]:
        """What tasks see: each key by its public half, each certificate as it is."""
        found = {path.name: path.read_bytes() for path in self.secrets.iterdir()}
        return {
            name: data if name.endswith("-cert.pub") else private_key.public_half(data) for name, data in found.items()
        }


def entry(target: str = "hpc", file: str = f"{FOLDER}/hpc", phrase: dict[str, str] = NO_PHRASE) -> dict[str, Any]:
    return {"target": target, "file": file, "phrase": phrase}
