"""Processes that are kept running: restarted with growing pauses, given up, stopped; and never a stranger's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import embedded_component, embedded_processes
from scripts.embedded_component import Component
from scripts.embedded_health import ask_file
from scripts.embedded_processes import Identity
from scripts.embedded_services import (
    Running,
    State,
    Wanted,
    read_state,
    read_wanted,
    write_state,
    write_wanted,
)
from scripts.process import wait_until


def wanted(tmp_path: Path, program: str) -> Wanted:
    """Return a process that runs a line of Python; it is healthy once it has made a file."""
    argv = (sys.executable, "-c", program)
    return Wanted("one", argv, {"MARK": str(tmp_path / "mark")}, "stamp", 0, "file", str(tmp_path / "mark"), grace=1)


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    """A process that becomes healthy, and starts another one in its own session."""
    program = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(os.environ['MARK'], 'w').close(); time.sleep(60)"
    )
    component = Component(wanted(tmp_path, program), tmp_path / "one.log", tmp_path / "none.db")
    component.keep()
    yield component
    component.stop()


def keep_until(component: Component, state: str) -> None:
    """Look after it until it is in a state."""
    end = time.monotonic() + 20
    while component.state != state:
        assert time.monotonic() < end, component.told()
        component.note_end()
        component.next_ask = 0
        component.keep()
        time.sleep(0.02)


def session_of(pid: int) -> list[int]:
    """Return who is in a session."""
    return [seen.pid for seen in embedded_processes.everyone() if seen.session == pid and seen.state != "Z"]


def test_killed_process_is_started_again_and_what_it_left_is_gone(component: Component) -> None:
    keep_until(component, "healthy")
    first = component.pid
    assert len(session_of(first)) == 2

    os.kill(first, signal.SIGKILL)
    while not component.note_end():
        time.sleep(0.01)
    assert component.state == "restarting"
    keep_until(component, "healthy")

    assert component.pid != first
    assert wait_until(lambda: session_of(first) == [], seconds=10, pause=0.01)
    assert component.told().deaths == 1


def test_stop_ends_the_process_with_all_it_has_started(component: Component) -> None:
    keep_until(component, "healthy")
    pid = component.pid

    component.stop()

    # A kill is on its way when it is sent.
    assert wait_until(lambda: session_of(pid) == [], seconds=10, pause=0.01)


def test_process_that_keeps_dying_is_given_up_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_component, "PAUSES", (0.0, 0.0, 0.0))
    component = Component(
        wanted(tmp_path, "import sys; sys.exit('windrose: a.cfg: is broken; mend it.')"), tmp_path / "one.log", tmp_path
    )

    keep_until(component, "gave up")
    component.keep()

    assert component.pid == 0 and component.deaths == 3
    assert component.said == "ended with code 1; its last words: windrose: a.cfg: is broken; mend it."


def test_pauses_grow(tmp_path: Path) -> None:
    pauses = embedded_component.PAUSES

    assert list(pauses) == sorted(pauses) and pauses[0] == 0 and sum(pauses) >= 30


def test_large_log_is_moved_aside_while_the_process_writes_on(
    component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_component, "LARGEST_LOG", 10)
    for text in ("first line\n" * 2, "second line\n" * 2, "third line\n" * 2):
        component.log.write_text(text)
        component.rotate()

    assert component.log.read_text() == ""
    assert component.log.with_suffix(".log.1").read_text().startswith("third")
    assert component.log.with_suffix(".log.2").read_text().startswith("second")


def test_number_that_somebody_else_has_now_is_never_signalled() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        known = embedded_processes.identify(stranger.pid)
        assert known is not None
        stale = [
            Identity(known.pid, known.started - 1, known.boot),
            Identity(known.pid, known.started, "another boot"),
        ]

        assert [identity.send(signal.SIGKILL) for identity in stale] == [False, False]
        assert known.is_alive() and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not known.is_alive()


def test_heartbeat_of_a_predecessor_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "beat").touch()
    now = time.time()

    assert ask_file(tmp_path / "beat", now - 5) == ""
    assert ask_file(tmp_path / "beat", now + 5) == "no heartbeat yet"
    os.utime(tmp_path / "beat", (now - 100, now - 100))
    assert ask_file(tmp_path / "beat", now - 200) == "the last heartbeat is 100 s old"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    service = wanted(tmp_path, "pass")
    state = State(Identity(1, 2, "boot"), {"one": Running("one", "healthy", 3, 4, 5.5, "stamp", 0, 0, "")})

    write_wanted(tmp_path / "wanted.json", [service], "program")
    write_state(tmp_path / "state.json", state)

    assert read_wanted(tmp_path / "wanted.json") == [service]
    assert read_state(tmp_path / "state.json") == state
    assert (tmp_path / "wanted.json").stat().st_mode & 0o777 == 0o600
    assert read_state(tmp_path / "nothing.json") is None
