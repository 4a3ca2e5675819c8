"""How many submits reach a platform from this machine at once? At most as many as its pool has slots.

A task whose platform is known only when it runs is in no platform's pool (windrose/pools.py), and a pool bounds tasks,
not what a deferred task's return does. So whoever submits takes one of a platform's slots here first: files that are
locked by the kernel, which lets go of them when their process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 600.0  # that somebody waits for a slot
TOLD_AFTER = 10.0
PAUSE = 0.2


class NoSlot(TimeoutError):
    """A platform whose slots were all taken for too long."""


def lock_folder() -> Path:
    """Return the folder of the slots, which is only ours; all tasks of this machine or container share it."""
    folder = Path(tempfile.gettempdir()) / f"windrose-slots-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone; delete it.")
    return folder


@contextmanager
def submit_slot(
    platform: str, slots: int, *, tell: Callable[[str], object] = print, seconds: float = SECONDS
) -> Iterator[int]:
    """Hold one of a platform's slots; wait for one as long as it may take.

    :param platform: id of the platform
    :param slots: how many there are, as its pool has them; fewer than one count as one
    :param tell: takes a sentence where it takes longer
    :param seconds: after so many NoSlot is raised
    """
    end, told = time.monotonic() + seconds, time.monotonic() + TOLD_AFTER
    while (taken := take(platform, max(slots, 1))) is None:
        now = time.monotonic()
        if now > end:
            raise NoSlot(f"{platform}: all {slots} slots for submits were taken for {seconds:.0f} s; try again later.")
        if now > told:
            told = float("inf")
            tell(f"{platform}: all {slots} slots for submits are taken; waiting for one.")
        time.sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret
    number, descriptor = taken
    try:
        yield number
    finally:
        # Closing lets go of the lock; the file stays, for a lock on a deleted one would bind nobody.
        os.close(descriptor)


def take(platform: str, slots: int) -> tuple[int, int] | None:
    """Return number and open file of a slot that was free, None where none is."""
    # An id may hold what a file name may not.
    name = f"{re.sub(r'[^A-Za-z0-9-]+', '_', platform)[:60]}.{hashlib.sha256(platform.encode()).hexdigest()[:8]}"
    folder = lock_folder()
    for number in range(slots):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / f"{name}.{number}", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return number, descriptor
    return None
