"""What /proc says of a process that may end while it is read."""

from __future__ import annotations

from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """Return a file of /proc, b'' where its process has gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """Say whether a process runs."""
    text = read_bytes(Path(f"/proc/{pid}/stat")).decode("utf-8", "replace")
    return bool(text) and text.rpartition(")")[2].split()[0] not in "ZX"
