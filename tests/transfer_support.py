"""Copying between places of a test, and what came of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from windrose import transfer
from windrose.transfer import Job, copy_all, passing_name, plan, result_of

OLD = 1_700_000_000
BIG = os.urandom(3 * 1024 * 1024 + 17)


def write(path: Path, data: bytes = b"data", *, modified: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (modified, modified))
    return path


def copied(source, source_path, target, target_path, *, streams=2):
    job = Job(plan(source, str(source_path), target, str(target_path)))
    begun = time.monotonic()
    copy_all(source.another(), target.another(), job, streams=streams, tell=print)
    return result_of(job, time.monotonic() - begun)


def counts(result):
    return {name: result[name] for name in ("copied", "resumed", "skipped", "failed") if result[name]}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begin(path: Path, data: bytes, *, of: Path) -> Path:
    """Leave behind what a killed try leaves: the first bytes of a copy."""
    found = of.stat()
    part = Path(passing_name(str(path), transfer.File("", found.st_size, found.st_mtime)))
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    return part
