"""Delete task logs by age and by size, oldest first, and have the database looked after: neither may fill the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

LOGS = Path(os.environ.get("WINDROSE_LOGS", "/opt/airflow/logs"))
HEARTBEAT = Path(os.environ.get("WINDROSE_HEARTBEAT", "/tmp/janitor-heartbeat"))  # noqa: S108 - a container's tmpfs
REPORT = Path(os.environ.get("WINDROSE_REPORT", "/opt/airflow/logs/janitor/report.json"))
CARE = Path(__file__).with_name("database_care.py")
HOUR = 3600
DAY = 24 * HOUR
# After a start the machine has other things to do: facts come after two minutes, deleting after ten.
FIRST_FACTS, FIRST_CLEANING = 120, 600
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


class DatabaseCare:
    """Has the database's facts written once an hour and its old rows deleted once a day, by a program of its own.

    That one needs Airflow and 130 MB for some seconds; this process stays small.
    """

    def __init__(self, *, started: float, days: int) -> None:
        """Begin with nothing under way."""
        self.started, self.days = started, days
        self.next_facts = started + FIRST_FACTS
        self.begun = 0.0
        self.child: subprocess.Popen[bytes] | None = None

    def step(self, *, now: float) -> list[str] | None:
        """Start the program when it is time; return what it was started with, None where it was not."""
        if self.child is not None and self.child.poll() is None:
            if now - self.begun > HOUR:
                self.child.kill()
            return None
        if now < self.next_facts:
            return None
        words = ["clean"] if self.is_cleaning_due(now) else []
        self.child = subprocess.Popen([sys.executable, str(CARE), *words])  # noqa: S603 - our own program
        self.begun, self.next_facts = now, now + HOUR
        if self.days and not words and now < self.started + FIRST_CLEANING:
            self.next_facts = self.started + FIRST_CLEANING
        return words

    def is_cleaning_due(self, now: float) -> bool:
        """Say whether a day has gone by since the last one; whoever restarts us all the time waits no longer."""
        return bool(self.days) and now >= self.started + FIRST_CLEANING and last_cleaning() < time.time() - DAY


def last_cleaning() -> float:
    """Return when rows were deleted last, in seconds since 1970; 0 where that is not known."""
    try:
        return datetime.fromisoformat(json.loads(REPORT.read_text(encoding="utf-8"))["cleaned"]["at"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def main() -> None:
    """Clean once an hour, and show every few seconds that we live."""
    days, megabytes = int(os.environ["LOG_DAYS"]), int(os.environ["LOG_SIZE_MB"])
    next_time = 0.0
    care = DatabaseCare(started=time.monotonic(), days=int(os.environ["HISTORY_DAYS"]))
    while True:
        HEARTBEAT.touch()
        if time.monotonic() >= next_time:
            freed = clean(LOGS, now=time.time(), days=days, megabytes=megabytes)
            print(f"janitor: freed {freed / MEGABYTE:.1f} MB of logs", flush=True)  # noqa: T201
            next_time = time.monotonic() + HOUR
        care.step(now=time.monotonic())
        time.sleep(10)


if __name__ == "__main__":
    main()
