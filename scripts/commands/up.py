"""Bring the stack up: check, build, migrate, start, wait; any step may be killed and repeated."""

from __future__ import annotations

import fcntl
import time

from scripts import runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode, KitError


def run() -> int:
    """Start everything and say where it is."""
    chosen = settings.load()
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    began = time.monotonic()
    with (settings.STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError("make up", "another one is running in this clone", "wait for it, or stop it") from error
        runtime.choose(chosen).start()
    progress(f"healthy after {time.monotonic() - began:.0f} s")
    say(f"Airflow   http://127.0.0.1:{chosen.port}")
    say(f"User      {chosen['ADMIN_USER']}   (password: make credentials)")
    say("Next      put a DAG into a folder of dags/; it shows up within seconds")
    return ExitCode.DONE
