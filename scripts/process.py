"""The only place that starts processes. Commands are lists, never shell strings; secrets go through stdin."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
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


def start(argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives us, its output in a file; return its process id."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
        ).pid


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
