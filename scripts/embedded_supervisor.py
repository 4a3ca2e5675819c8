"""Keep the processes of the embedded stack running: `python -m scripts.embedded_supervisor`, one a clone.

It has a session of its own, so it outlives the terminal. What is wanted it reads from wanted.json, how things stand it
writes to state.json; SIGTERM stops all of it. The kernel kills its children when it dies, and a watcher, which is its
own fork, starts it anew; when the watcher dies, it forks another one.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from scripts import embedded_places as places
from scripts import embedded_processes, process
from scripts.embedded_component import Component
from scripts.embedded_services import State, read_state, read_wanted, write_state
from scripts.settings import ROOT

TICK = 0.5
ORPHANS_EVERY = 10.0
WATCH_EVERY = 0.3
LOCK_PATIENCE = 5.0


class Supervisor:
    """The loop and its memory."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.components: dict[str, Component] = {}
        self.wanted_mark: tuple[int, ...] = ()
        self.watcher = 0
        self.is_stopping = False
        self.written: State | None = None
        self.orphans: set[int] = set()  # left behind by tasks on purpose: not ours to kill
        self.orphans_seen = 0.0
        self.wakeup = self.listen()

    def listen(self) -> int:
        """Let signals end a pause, and remember the wish to stop."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.ask_to_stop)
        signal.signal(signal.SIGINT, self.ask_to_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return reading

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Remember that all is to end."""
        self.is_stopping = True

    def run(self) -> None:
        """Go round until somebody asks to stop."""
        while not self.is_stopping:
            self.keep_watcher()
            self.take_up_wishes()
            self.reap()
            for component in self.components.values():
                component.keep()
            self.tell()
            self.pause()
        self.stop()

    def pause(self) -> None:
        """Wait for a signal, or for the next round."""
        select.select([self.wakeup], [], [], TICK)
        try:
            os.read(self.wakeup, 4096)
        except BlockingIOError:
            return

    def keep_watcher(self) -> None:
        """Have a fork of ours that starts us anew."""
        if self.watcher:
            ended, _ = os.waitpid(self.watcher, os.WNOHANG)
            if not ended:
                return
        us = os.getpid()
        self.watcher = os.fork()
        if not self.watcher:
            watch(us)

    def take_up_wishes(self) -> None:
        """Start what is new, restart what has changed, stop what is no longer wanted."""
        try:
            found = places.WANTED.stat()
        except OSError:
            return
        mark = (found.st_mtime_ns, found.st_ino)
        if mark == self.wanted_mark:
            return
        self.wanted_mark = mark
        wanted = {service.name: service for service in read_wanted(places.WANTED)}
        outdated = [c for name, c in self.components.items() if name not in wanted or c.differs(wanted[name])]
        self.stop_in_order(outdated)
        kept = {name: c for name, c in self.components.items() if c not in outdated}
        self.components = {}
        for name, service in wanted.items():
            self.components[name] = kept.get(name) or Component(service, places.LOGS / f"{name}.log", places.DATABASE)

    def reap(self) -> None:
        """See who has ended, and end with it what it has left behind."""
        ended = [component for component in self.components.values() if component.note_end()]
        if ended:
            time.sleep(0.1)  # its own children follow it by the kernel's hand
            for orphan in self.new_orphans():
                embedded_processes.kill_session(orphan)
        if ended or time.monotonic() - self.orphans_seen > ORPHANS_EVERY:
            self.orphans_seen = time.monotonic()
            self.orphans = self.all_orphans()

    def all_orphans(self) -> set[int]:
        """Return the sessions of what fell to us; what has ended is put away."""
        ours = {component.pid for component in self.components.values()} | {self.watcher}
        sessions = set()
        for child in embedded_processes.children(os.getpid()):
            if child.pid in ours:
                continue
            if child.state == "Z":
                os.waitpid(child.pid, os.WNOHANG)
            else:
                sessions.add(child.session)
        return sessions - {os.getsid(0)}

    def new_orphans(self) -> set[int]:
        """Return the sessions that fell to us since we looked last: commands of tasks whose process has just died."""
        alive = {component.pid for component in self.components.values()}
        return self.all_orphans() - self.orphans - alive

    def tell(self) -> None:
        """Write how things stand, where that has changed."""
        us = embedded_processes.identify(os.getpid())
        state = State(us, {name: c.told() for name, c in self.components.items()}) if us else None
        if state and (state != self.written or not places.STATE_FILE.exists()):
            write_state(places.STATE_FILE, state)
            self.written = state

    def stop(self) -> None:
        """End everything: the watcher first, who would start us anew, and last what the others need to end well."""
        if self.watcher:
            os.kill(self.watcher, signal.SIGKILL)
            os.waitpid(self.watcher, 0)
        self.stop_in_order(list(self.components.values()))
        for session in self.all_orphans():
            embedded_processes.kill_session(session)
        places.STATE_FILE.unlink(missing_ok=True)

    def stop_in_order(self, components: list[Component]) -> None:
        """Let them end side by side, and what the others need to end well after them."""
        for last in (False, True):
            chosen = [component for component in components if component.wanted.last == last]
            for component in chosen:
                component.ask_to_end()
            if chosen:
                self.tell()
            for component in chosen:
                component.stop()


def watch(supervisor: int) -> None:
    """Wait for the supervisor's death, then become it."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    for name in os.listdir("/proc/self/fd"):  # its lock above all: the next one must be able to take it
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                continue
    while os.getppid() == supervisor:
        time.sleep(WATCH_EVERY)
    os.execv(sys.executable, places.supervisor_command())  # noqa: S606


def take_lock(path: Path) -> int | None:
    """Return the lock that only one supervisor of a clone has, None where another one keeps it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > end:
                return None
            time.sleep(0.1)


def end_leftovers() -> None:
    """Kill what a predecessor has left, in case the kernel has not: never a stranger who has the same number now."""
    state = read_state(places.STATE_FILE)
    for identity in state.identities() if state else []:
        if identity.send(signal.SIGKILL):
            embedded_processes.kill_session(identity.pid)


def main() -> int:
    """Become the one supervisor of this clone."""
    os.umask(0o077)
    os.chdir(ROOT)
    lock = take_lock(places.LOCK)
    if lock is None:
        return 3
    process.inherit_orphans()
    end_leftovers()
    Supervisor().run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
