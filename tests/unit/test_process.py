"""Starting programs: what they print, how they end, and what a missing one says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import process
from scripts.errors import CommandFailed, KitError
from scripts.process import Completed

PYTHON = sys.executable


def test_run_returns_all_that_was_printed() -> None:
    done = process.run([PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])

    assert done == Completed(0, "out\n", "err\n")


def test_run_gives_no_input_unless_told() -> None:
    echo = "import sys; print(sys.stdin.read(), end='')"

    assert process.run([PYTHON, "-c", echo]).stdout == ""
    assert process.run([PYTHON, "-c", echo], stdin="späße\n").stdout == "späße\n"


def test_run_passes_words_as_they_are(tmp_path: Path) -> None:
    words = ["$(touch x)", "a b", "", "*", "-n", "`id`"]

    done = process.run([PYTHON, "-c", "import sys; print(sys.argv[1:])", *words], folder=tmp_path)

    assert (done.stdout, list(tmp_path.iterdir())) == (f"{words}\n", [])


def test_run_uses_the_environment_it_is_given() -> None:
    done = process.run(
        [PYTHON, "-c", "import os; print(os.environ.get('A'), os.environ.get('HOME'))"], environment={"A": "1"}
    )

    assert done.stdout == "1 None\n"


def test_run_raises_with_the_last_line_of_a_failure() -> None:
    with pytest.raises(CommandFailed) as raised:
        process.run([PYTHON, "-c", "import sys; sys.exit('first\\nlast words')"])

    assert (raised.value.problem, raised.value.code) == ("last words", 1)


def test_run_returns_a_failure_when_asked_to() -> None:
    assert process.run([PYTHON, "-c", "raise SystemExit(7)"], check=False) == Completed(7, "", "")


def test_run_survives_output_that_is_no_text() -> None:
    done = process.run([PYTHON, "-c", "import sys; sys.stdout.buffer.write(b'a\\xffb')"])

    assert done.stdout == "a\ufffdb"


def test_run_says_when_a_program_takes_too_long() -> None:
    with pytest.raises(KitError) as raised:
        process.run(["sleep", "60"], timeout=0.1)

    assert (raised.value.where, raised.value.problem) == ("sleep 60", "no answer within 0 s")


@pytest.mark.parametrize("start", ["run", "stream", "interactive"])
def test_missing_program_is_named(start: str) -> None:
    argv = ["/nowhere/no-such-program"]
    calls = {
        "run": lambda: process.run(argv),
        "stream": lambda: process.stream(argv, on_line=print),
        "interactive": lambda: process.interactive(argv),
    }

    with pytest.raises(KitError) as raised:
        calls[start]()

    assert str(raised.value) == (
        "no-such-program: is not installed or not on PATH; install it and run the command again."
    )


def test_stream_hands_over_each_line_and_the_code() -> None:
    lines: list[str] = []

    code = process.stream([PYTHON, "-c", "print('one\\n\\ntwo'); raise SystemExit(3)"], on_line=lines.append)

    assert (lines, code) == (["one", "", "two"], 3)


def test_started_program_writes_into_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"

    pid = process.start([PYTHON, "-c", "import os; print(os.getsid(0) == os.getpid())"], log=log)

    assert process.wait_until(lambda: log.read_text() == "True\n", seconds=10, pause=0.02)
    assert pid > 0


def test_wait_until_says_whether_it_came() -> None:
    answers = iter([False, False, True])

    assert process.wait_until(lambda: next(answers), seconds=5, pause=0)
    assert not process.wait_until(lambda: False, seconds=0, pause=0)


def test_bytes_go_through_piece_by_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    copy = f"import sys; open({str(tmp_path / 'copy')!r}, 'wb').write(sys.stdin.buffer.read())"
    show = f"import sys; sys.stdout.buffer.write(open({str(tmp_path / 'copy')!r}, 'rb').read())"

    process.write_bytes([PYTHON, "-c", copy], [data[:1000], data[1000:]])
    pieces = list(process.read_bytes([PYTHON, "-c", show], chunk=65536))

    assert (b"".join(pieces) == data, len(pieces) > 10) == (True, True)


def test_program_that_fails_in_the_middle_of_bytes_says_why() -> None:
    fails = "import sys; sys.stdout.write('half'); sys.exit('the disk is full')"

    with pytest.raises(CommandFailed) as reading:
        list(process.read_bytes([PYTHON, "-c", fails]))
    with pytest.raises(CommandFailed) as writing:
        process.write_bytes([PYTHON, "-c", fails], [b"x" * 65536] * 100)

    assert ["the disk is full" in str(raised.value) for raised in (reading, writing)] == [True, True]


def test_program_does_not_outlive_pieces_that_fail(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise KitError("bundle", "was changed", "copy it again")

    slow = f"import sys; data = sys.stdin.buffer.read(); open({str(tmp_path / 'taken')!r}, 'wb').write(data)"
    with pytest.raises(KitError, match="was changed"):
        process.write_bytes([PYTHON, "-c", slow], pieces())

    assert list(tmp_path.iterdir()) == []
