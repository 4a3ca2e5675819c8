"""The only place that starts processes. Commands are lists, never shell strings; secrets go through stdin."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.errors import CommandFailed, KitError


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished program left."""

    code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end and return what it printed."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise missing_program(argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise KitError(" ".join(argv[:3]), f"no answer within {timeout:.0f} s", "try again") from error
    if check and done.returncode != 0:
        raise CommandFailed(list(argv), done.returncode, done.stderr or done.stdout)
    return Completed(done.returncode, done.stdout, done.stderr)


def stream(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Run a program and hand over each line it prints, as it prints it; return its exit code."""
    try:
        started = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise missing_program(argv[0]) from error
    with started as process:
        for line in process.stdout or ():
            on_line(line.rstrip("\n"))
    return process.returncode


def read_bytes(argv: Sequence[str], *, chunk: int = 1 << 20) -> Iterator[bytes]:
    """Run a program and hand over what it writes, piece by piece; its failure is raised after the last."""
    with tempfile.TemporaryFile() as errors:
        try:
            started = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except FileNotFoundError as error:
            raise missing_program(argv[0]) from error
        with started as process:
            while piece := process.stdout.read(chunk) if process.stdout else b"":
                yield piece
        errors.seek(0)
        if process.returncode != 0:
            raise CommandFailed(list(argv), process.returncode, errors.read().decode("utf-8", "replace"))


def write_bytes(argv: Sequence[str], pieces: Iterable[bytes]) -> None:
    """Run a program on a stdin that comes piece by piece."""
    with tempfile.TemporaryFile() as output:
        try:
            started = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=output, stderr=output)
        except FileNotFoundError as error:
            raise missing_program(argv[0]) from error
        with started as process:
            try:
                for piece in pieces:
                    if process.stdin:
                        process.stdin.write(piece)
            except BrokenPipeError:
                close_quietly(process)  # it has stopped reading; its own words say why
            except BaseException:
                process.kill()
                close_quietly(process)
                raise
        output.seek(0)
        if process.returncode != 0:
            raise CommandFailed(list(argv), process.returncode, output.read().decode("utf-8", "replace"))


def close_quietly(process: subprocess.Popen[bytes]) -> None:
    """Close the input of a program that reads no more: what is left for it would be an error of its own."""
    with suppress(OSError):
        if process.stdin:
            process.stdin.close()


def interactive(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> int:
    """Run a program on the user's own terminal."""
    try:
        return subprocess.run(
            list(argv), env=dict(environment) if environment is not None else None, cwd=folder, check=False
        ).returncode
    except FileNotFoundError as error:
        raise missing_program(argv[0]) from error


def start(
    argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> int:
    """Start a program that outlives us, its output in a file; return its process id."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
        ).pid


def start_child(
    argv: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own that the kernel kills when we die, its output in a file."""
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies; it lasts through an exec."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def inherit_orphans() -> None:
    """Ask the kernel to make us the parent of what our children leave behind."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.5) -> bool:
    """Ask until the condition holds or the time is over; say which."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def missing_program(name: str) -> KitError:
    """Describe a program that is not installed."""
    return KitError(os.path.basename(name), "is not installed or not on PATH", "install it and run the command again")
