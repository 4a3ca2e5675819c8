"""Two commands that change the same stack must not run at once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.errors import KitError
from scripts.settings import STATE


@contextmanager
def one_at_a_time(command: str) -> Iterator[None]:
    """Hold this clone's lock; the kernel lets go of it when the process ends, however it ends."""
    try:
        STATE.mkdir(mode=0o700, exist_ok=True)
        file = (STATE / "lock").open("w")
    except OSError as error:
        fix = "free some space, or run make as the owner of this folder in a clone that you may write to"
        raise KitError(STATE.name, f"cannot be written ({error.strerror})", fix) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError(command, "another command is at work in this clone", "wait for it, or stop it") from error
        yield
