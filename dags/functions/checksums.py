"""Comparing files with the checksums that somebody else computed of them, in the form that `sha256sum` writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def read_checksums(text: str) -> dict[str, str]:
    """Return name -> SHA-256 from what `sha256sum` wrote."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {name.removeprefix("*"): digest for digest, name in pairs}


def differing(folder: Path, checksums: Mapping[str, str], *, below: str) -> list[str]:
    """Return the files of a folder whose checksum is not the one written for them, or that are not there.

    Only names that begin with `below` count; without it they are paths in the folder.
    """
    found = []
    for name, digest in checksums.items():
        if name.startswith(below):
            path = folder / name.removeprefix(below)
            if not path.is_file() or sha256(path) != digest:
                found.append(name)
    return found


def sha256(path: Path) -> str:
    """Return the checksum of a file, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
