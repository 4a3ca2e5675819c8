"""The wrapper that a platform runs, in a real bash here; and what becomes of a command's output."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from plugins.windrose import remote_command
from plugins.windrose.remote_command import Output, wrapped
from scripts.embedded_processes import everyone


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def start(command: str) -> subprocess.Popen[bytes]:
    """Run it as sshd does: in a session of its own, with an input that stays open for as long as the connection."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(["sh", "-c", wrapped(command)], **pipes, start_new_session=True)


def ran(command: str) -> tuple[int, str, str]:
    process = start(command)
    assert process.stdout and process.stderr
    said, complained = process.stdout.read(), process.stderr.read()
    return process.wait(10), said.decode(), complained.decode()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("echo one; echo two", 0, "one\ntwo\n"),
        ("false", 1, ""),
        ("exit 42", 42, ""),
        ("echo 'it''s' \"$HOME\" | wc -l", 0, "1\n"),
        ("kill -9 $$", 137, ""),
        ("no-such-program 2>/dev/null", 127, ""),
        ("cat; echo after", 0, "after\n"),
        ("for i in 1 2; do\n  echo $i\ndone", 0, "1\n2\n"),
        ("shopt -q login_shell && echo login", 0, "login\n"),
    ],
)
def test_command_ends_with_its_own_code_and_says_what_it_says(command: str, code: int, said: str) -> None:
    assert ran(command) == (code, said, "")


def is_running(path: Path) -> bool:
    try:
        os.kill(int(path.read_text()), 0)
    except (ProcessLookupError, ValueError, FileNotFoundError):
        return False
    return True


def wait_for(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("trap", "longest"),
    [pytest.param("", 4.5, id="polite"), pytest.param("trap '' TERM;", 9, id="does not listen")],
)
def test_end_of_the_connection_ends_the_command_with_its_children(tmp_path: Path, trap: str, longest: float) -> None:
    child = tmp_path / "child"
    process = start(f"{trap} sleep 300 & echo $! > {child}; wait; while :; do sleep 1; done")
    wait_for(lambda: child.exists() and child.read_text().strip())
    begun = time.monotonic()

    assert process.stdin
    process.stdin.close()

    wait_for(lambda: not is_running(child), seconds=longest)
    assert (process.wait(longest), time.monotonic() - begun < longest) in ((143, True), (137, True))


def test_nothing_is_left_of_the_guard() -> None:
    process = start("sleep 0.2")
    process.wait(10)

    # A kill is on its way when it is sent.
    wait_for(lambda: not [seen for seen in everyone() if seen.session == process.pid and seen.state != "Z"])


def test_output_is_shown_up_to_a_limit_and_its_end_is_kept() -> None:
    shown: list[str] = []
    output = Output(shown.append, most=3)

    for number in range(200):
        output.take(f"line {number}\n".encode())
    output.take(b"without an end")
    output.finish()

    assert shown[:3] == ["line 0", "line 1", "line 2"]
    assert (len(shown), "more than 3 lines" in shown[3]) == (4, True)
    assert (output.lines, len(output.last), output.last[-1]) == (201, remote_command.LAST_LINES, "without an end")


def test_output_that_is_no_text_or_one_long_line_is_shown_in_pieces() -> None:
    shown: list[str] = []
    output = Output(shown.append, most=10)

    output.take(b"a\x1b[31mb\xff\r\n")
    output.take(b"x" * 4500)
    output.finish()

    assert shown[0] == "a [31mb\N{REPLACEMENT CHARACTER}"
    assert [len(line) for line in shown[1:]] == [2000, 2000, 500]


def test_line_that_arrives_in_two_pieces_is_one() -> None:
    shown: list[str] = []
    output = Output(shown.append, most=10)

    for piece in (b"ha", b"lf and ", b"half\nnext"):
        output.take(piece)

    assert shown == ["half and half"]
