"""A command on a platform, from its start to its exit code: line by line, never without an end, never left behind."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel, SSHClient

PIECE = 32 * 1024
LONGEST_LINE = 2000
LAST_LINES = 50  # returned as the result
PAUSE = 0.2
LAST_WORDS = 3.0
# Runs the command as a group of processes of its own, in a login shell: that is where sites put their programs on the
# path. The second group waits for the end of our connection, and then ends the first: whether the task was killed, its
# machine died or the network broke, nothing goes on over there.
WRAPPER = """
exec 3<&0 4>&2 2>/dev/null  # what bash itself says of its jobs is nobody's output
set -m
bash -lc "$1" </dev/null 2>&4 4>&- &
job=$!
exec 4>&-
{ cat <&3; kill -TERM -- "-$job"; sleep 5; kill -KILL -- "-$job"; } >/dev/null &
guard=$!
wait "$job"
code=$?
kill -KILL -- "-$guard"
exit "$code"
"""


class TookTooLong(Exception):
    """A command that was ended because its time was over."""


class LostCommand(Exception):
    """A command whose end nobody saw."""


def wrapped(command: str) -> str:
    """Return what is sent to the platform."""
    return f"exec bash -c {shlex.quote(WRAPPER)} windrose {shlex.quote(command)}"


@dataclass(slots=True)
class Output:
    """What a command says: shown line by line up to a limit, its last lines kept."""

    show: Callable[[str], None]
    most: int
    lines: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    rest: bytes = b""

    def take(self, data: bytes) -> None:
        """Show each line that is complete; a line without an end is cut where it is too long."""
        *complete, self.rest = (self.rest + data).split(b"\n")
        while len(self.rest) > LONGEST_LINE:
            complete.append(self.rest[:LONGEST_LINE])
            self.rest = self.rest[LONGEST_LINE:]
        for line in complete:
            self.add(line)

    def add(self, line: bytes) -> None:
        """Show one line."""
        words = line.decode("utf-8", "replace").rstrip("\r")
        text = "".join(sign if sign.isprintable() or sign == "\t" else " " for sign in words)[:LONGEST_LINE]
        self.lines += 1
        self.last.append(text)
        if self.lines <= self.most:
            self.show(text)
        elif self.lines == self.most + 1:
            self.show(f"... more than {self.most} lines; the rest is not shown, only the last {LAST_LINES} are kept")

    def finish(self) -> None:
        """Show what stands behind the last line's end."""
        if self.rest:
            self.add(self.rest)
            self.rest = b""


def run(client: SSHClient, command: str, output: Output, *, seconds: float) -> int:
    """Run a command over an open SSHClient of paramiko; return its exit code."""
    channel = client.get_transport().open_session()
    try:
        channel.set_combine_stderr(True)
        channel.exec_command(wrapped(command))
        end = time.monotonic() + seconds
        while read_some(channel, output):
            if time.monotonic() > end:
                raise TookTooLong
        output.finish()
        code = int(channel.recv_exit_status())
    finally:
        # Closing is what ends the command there, if it still runs.
        channel.close()
    if code < 0:
        raise LostCommand
    return code


def read_some(channel: Channel, output: Output) -> bool:
    """Take what there is to read; return whether there may be more."""
    if channel.recv_ready():
        output.take(channel.recv(PIECE))
        return True
    if channel.exit_status_ready() or channel.closed:
        # What was said last may still be on its way; something left in the background may keep the stream open.
        channel.settimeout(LAST_WORDS)
        end = time.monotonic() + LAST_WORDS
        try:
            while time.monotonic() < end and (data := channel.recv(PIECE)):
                output.take(data)
        except TimeoutError:
            pass
        return False
    channel.settimeout(PAUSE)
    try:
        data = channel.recv(PIECE)
    except TimeoutError:
        return True
    output.take(data)
    return bool(data)
