"""Delete task logs by age and by size, oldest first, so that they never fill the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOGS = Path(os.environ.get("WINDROSE_LOGS", "/opt/airflow/logs"))
HEARTBEAT = Path(os.environ.get("WINDROSE_HEARTBEAT", "/tmp/janitor-heartbeat"))  # noqa: S108 - a container's tmpfs
HOUR = 3600
DAY = 24 * HOUR
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file with what decides about it."""

    path: Path
    changed: float
    size: int


def find_logs(folder: Path) -> Iterator[LogFile]:
    """Yield every log file below a folder; files that vanish meanwhile are passed over."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                found = path.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield LogFile(path, found.st_mtime, found.st_size)


def choose_outdated(logs: list[LogFile], *, now: float, days: int, megabytes: int) -> list[LogFile]:
    """Return what to delete: all that is too old, then the oldest until the rest fits.

    A file that changed within the last hour stays: its task may still be writing.
    """
    outdated = []
    total = sum(log.size for log in logs)
    for log in sorted(logs, key=lambda log: log.changed):
        too_old = log.changed < now - days * DAY
        too_much = total > megabytes * MEGABYTE
        if not (too_old or too_much) or log.changed > now - HOUR:
            break
        outdated.append(log)
        total -= log.size
    return outdated


def clean(folder: Path, *, now: float, days: int, megabytes: int) -> int:
    """Delete what is outdated and the folders that are empty then; return how many bytes that freed."""
    freed = 0
    for log in choose_outdated(list(find_logs(folder)), now=now, days=days, megabytes=megabytes):
        try:
            log.path.unlink(missing_ok=True)
        except OSError as error:
            # Somebody else's file must not end the cleaning of ours.
            print(f"janitor: {log.path} stays: {error.strerror}", flush=True)  # noqa: T201
            continue
        freed += log.size
    for place, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            path = Path(place, name)
            # A run that has just begun owns folders that are empty for a moment.
            if not path.is_symlink() and path.stat().st_mtime < now - HOUR:
                try:
                    path.rmdir()
                except OSError:
                    continue
    return freed


def main() -> None:
    """Clean once an hour, and show every few seconds that we live."""
    days, megabytes = int(os.environ["LOG_DAYS"]), int(os.environ["LOG_SIZE_MB"])
    next_time = 0.0
    while True:
        HEARTBEAT.touch()
        if time.monotonic() >= next_time:
            freed = clean(LOGS, now=time.time(), days=days, megabytes=megabytes)
            print(f"janitor: freed {freed / MEGABYTE:.1f} MB of logs", flush=True)  # noqa: T201
            next_time = time.monotonic() + HOUR
        time.sleep(10)


if __name__ == "__main__":
    main()
