"""Show what the processes of the embedded stack say, as `docker compose logs` does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.console import say

PAUSE = 0.5
BLOCK = 65536


def log_names(folder: Path) -> list[str]:
    """Return whose logs there are."""
    return sorted(path.stem for path in folder.glob("*.log")) if folder.is_dir() else []


def show(paths: Mapping[str, Path], lines: int) -> dict[str, int]:
    """Print the last lines of each; return how far each was read."""
    width = max((len(name) for name in paths), default=0)
    marks = {}
    for name, path in paths.items():
        text, marks[name] = tail(path, lines)
        for line in text:
            say(f"{name.ljust(width)} | {line}")
    return marks


def tail(path: Path, lines: int) -> tuple[list[str], int]:
    """Return the last lines of a file and its size, reading no more than needed."""
    if not path.exists() or not lines:
        return [], path.stat().st_size if path.exists() else 0
    with path.open("rb") as file:
        end = position = file.seek(0, 2)
        data = b""
        while position and data.count(b"\n") <= lines:
            step = min(BLOCK, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    return data.decode("utf-8", "replace").splitlines()[-lines:], end


def follow(paths: Mapping[str, Path], marks: dict[str, int]) -> None:
    """Print what comes, for ever."""
    width = max((len(name) for name in paths), default=0)
    while True:
        for name, path in paths.items():
            for line in fresh(path, marks, name):
                say(f"{name.ljust(width)} | {line}")
        time.sleep(PAUSE)


def fresh(path: Path, marks: dict[str, int], name: str) -> Iterator[str]:
    """Yield the whole lines that have come since; one that was cut back begins anew."""
    size = path.stat().st_size if path.exists() else 0
    start = marks.get(name, 0) if size >= marks.get(name, 0) else 0
    if size == start:
        marks[name] = size
        return
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(size - start)
    whole = data[: data.rfind(b"\n") + 1]
    marks[name] = start + len(whole)
    yield from whole.decode("utf-8", "replace").splitlines()
