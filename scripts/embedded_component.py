"""One process of the embedded stack: started, asked for its health, started again when it dies, or given up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from scripts import embedded_processes, process
from scripts.embedded_health import probe
from scripts.embedded_services import GAVE_UP, WELL, Running, Wanted
from scripts.settings import ROOT

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # before each new start; after the last one it is given up
STEADY = 60.0  # seconds of health after which earlier deaths are forgotten
ASK_STARTING, ASK_RUNNING = 0.5, 5.0
MISSES = 2  # probes in a row that a process which was healthy may miss
LARGEST_LOG = 10 * 1024 * 1024
OLD_LOGS = 2


class Component:
    """A process and what is known of it."""

    def __init__(self, wanted: Wanted, log: Path, database: Path) -> None:
        """Want it; the next look starts it."""
        self.wanted, self.log, self.database = wanted, log, database
        self.process: subprocess.Popen[bytes] | None = None
        self.state, self.said = "starting", ""
        self.since = time.time()
        self.started = 0
        self.deaths = self.missed = 0
        self.next_start = self.next_ask = 0.0
        self.well_since = 0.0
        self.is_asked = False

    @property
    def pid(self) -> int:
        """Return its number, 0 while it does not run."""
        return self.process.pid if self.process else 0

    def differs(self, wanted: Wanted) -> bool:
        """Say whether what is wanted now asks for another process."""
        return (self.wanted.stamp, self.wanted.round) != (wanted.stamp, wanted.round)

    def keep(self) -> None:
        """Start it when it is time, or ask how it is."""
        now = time.monotonic()
        if self.process is None:
            if self.state != GAVE_UP and now >= self.next_start:
                self.start()
        elif now >= self.next_ask:
            self.ask(now)
            self.rotate()

    def start(self) -> None:
        """Start the process."""
        self.since, self.state, self.missed = time.time(), "starting", 0
        try:
            self.process = process.start_child(
                self.wanted.argv, log=self.log, environment=self.wanted.environment, folder=ROOT
            )
        except OSError as error:
            self.note_failure(f"cannot be started ({error.strerror})")
            return
        found = embedded_processes.identify(self.process.pid)
        self.started = found.started if found else 0

    def ask(self, now: float) -> None:
        """Ask for its health; one that was healthy may miss a question."""
        reason = probe(self.wanted, self.since, self.database)
        if not reason:
            self.well_since = self.well_since or now
            if now - self.well_since > STEADY:
                self.deaths = 0
            self.state, self.said, self.missed = WELL, "", 0
        else:
            self.missed += 1
            self.said = reason
            if self.state == WELL and self.missed >= MISSES:
                self.state, self.well_since = "unhealthy", 0.0
        self.next_ask = now + (ASK_STARTING if self.state == "starting" else ASK_RUNNING)

    def note_end(self) -> bool:
        """Say whether the process has ended since we looked; plan the next start."""
        if self.process is None or self.process.poll() is None:
            return False
        code, pid = self.process.returncode, self.process.pid
        self.process = None
        embedded_processes.kill_session(pid)
        self.note_failure(f"was killed by signal {-code}" if code < 0 else f"ended with code {code}")
        return True

    def note_failure(self, reason: str) -> None:
        """Count it, and start again after a while that grows; in the end stop trying."""
        self.well_since, self.since = 0.0, time.time()
        words = last_line(self.log)
        self.said = f"{reason}; its last words: {words}" if words else reason
        if self.deaths >= len(PAUSES):
            self.state = GAVE_UP
            return
        self.state = "restarting"
        self.next_start = time.monotonic() + PAUSES[self.deaths]
        self.deaths += 1

    def ask_to_end(self) -> None:
        """Send the polite signal once, to the process alone: its tasks may go on; a second one would cut them short."""
        if self.process and self.process.poll() is None and not self.is_asked:
            self.is_asked, self.state = True, "stopping"
            os.kill(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Let it end within its grace, then kill it with all it has started."""
        if self.process is None:
            return
        self.ask_to_end()
        try:
            self.process.wait(timeout=self.wanted.grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
        embedded_processes.kill_session(self.process.pid)
        self.process.wait()
        self.process = None

    def rotate(self) -> None:
        """Move a log that has grown large out of the way; the process goes on writing at its new beginning."""
        try:
            if self.log.stat().st_size <= LARGEST_LOG:
                return
            for number in range(OLD_LOGS, 1, -1):
                older = self.log.with_suffix(f".log.{number - 1}")
                if older.exists():
                    older.replace(self.log.with_suffix(f".log.{number}"))
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)
        except OSError:
            return  # a full disk must not end the supervisor

    def told(self) -> Running:
        """Return what others are told."""
        return Running(
            name=self.wanted.name,
            state=self.state,
            pid=self.pid,
            started=self.started if self.process else 0,
            since=self.since,
            stamp=self.wanted.stamp,
            round=self.wanted.round,
            deaths=self.deaths,
            said=self.said,
        )


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
