"""Which processes are ours? Asked of /proc; a number alone is never believed, because numbers are used again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Seen:
    """What /proc says of a process in one line."""

    pid: int
    state: str
    parent: int
    session: int
    started: int  # ticks since boot


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that no other one can be taken for: number, time of its start, boot of the machine."""

    pid: int
    started: int
    boot: str

    def is_alive(self) -> bool:
        """Say whether just this process still runs."""
        found = look(self.pid) if self.boot == boot() else None
        return found is not None and found.started == self.started and found.state not in "ZX"

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; say whether it was there to take it."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def boot() -> str:
    """Return the name that the kernel gave to this boot."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def look(pid: int) -> Seen | None:
    """Return what is known of a process, None where there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # Its name stands in brackets and may hold anything.
    fields = text.rpartition(")")[2].split()
    return Seen(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def identify(pid: int) -> Identity | None:
    """Return who has this number now."""
    found = look(pid)
    return Identity(pid, found.started, boot()) if found else None


def everyone() -> Iterator[Seen]:
    """Yield every process of the machine that can be seen."""
    for name in os.listdir(PROC):
        if name.isdigit() and (found := look(int(name))):
            yield found


def children(pid: int) -> list[Seen]:
    """Return the processes that a process has started or inherited."""
    return [found for found in everyone() if found.parent == pid]


def kill_session(session: int) -> None:
    """Kill what is left of a session that we have made ourselves."""
    for found in everyone():
        if found.session == session:
            try:
                os.kill(found.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def memory_mb(sessions: list[int]) -> dict[int, tuple[float, bool]]:
    """Return session -> memory, and whether it is all: the kernel shows what tasks use to root alone.

    What processes share counts once.
    """
    found = dict.fromkeys(sessions, (0.0, True))
    for seen in everyone():
        if seen.session in found:
            used, (total, is_all) = used_kb(seen.pid), found[seen.session]
            found[seen.session] = (total + (used or 0) / 1024, is_all and used is not None)
    return found


def used_kb(pid: int) -> int | None:
    """Return a process's share of the memory, None where it is not shown to us."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)
