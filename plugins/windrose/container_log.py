"""How much of what a container writes goes into the log of its task? All, up to a limit; then the end of it."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable

LONGEST_LINE = 8000  # characters; a program may write megabytes without an end of line
LINES_AT_THE_END = 50
LINE_COST = 400  # bytes that Airflow writes around each line


class JobLog:
    """Cuts what comes into lines and hands them on, until there were too many."""

    def __init__(self, write: Callable[[str], object], limit: int) -> None:
        """Remember where lines go, and how many bytes of log they may take."""
        self.write = write
        self.limit = limit
        # Standard output and standard error come in pieces that know nothing of each other's lines.
        self.decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(2)]
        self.begun = ["", ""]
        self.size = 0  # what the job wrote
        self.taken = 0  # what that takes in the log
        self.cut = 0
        self.last = ""
        self.end: deque[str] = deque(maxlen=LINES_AT_THE_END)

    def add(self, output: bytes | None, errors: bytes | None = None, *, final: bool = False) -> None:
        """Take what has come."""
        for stream, piece in enumerate((output, errors)):
            if piece or final:
                for line in self.lines(stream, self.decoders[stream].decode(piece or b"", final)):
                    self.add_line(line, is_output=stream == 0)

    def lines(self, stream: int, text: str) -> list[str]:
        """Return the lines that are whole now."""
        *lines, begun = (self.begun[stream] + text).split("\n")
        while len(begun) > LONGEST_LINE:
            lines.append(begun[:LONGEST_LINE])
            begun = begun[LONGEST_LINE:]
        self.begun[stream] = begun
        return lines

    def add_line(self, line: str, *, is_output: bool) -> None:
        """Hand a line on, or keep it for the end."""
        # Of a progress bar, what was drawn last.
        text = line.rstrip().rpartition("\r")[2]
        self.last = text if text and is_output else self.last
        self.size += len(line) + 1
        self.taken += len(line) + LINE_COST
        if self.taken <= self.limit:
            self.write(text)
        else:
            self.cut += 1
            self.end.append(text)

    def close(self) -> str:
        """Hand on the rest, with a note where lines were left out; return the last line of the output."""
        self.add(None, final=True)
        for stream, line in enumerate(self.begun):
            if line:
                self.add_line(line, is_output=stream == 0)
        if self.cut:
            self.write(
                f"[the job wrote {self.size / 1000**2:.0f} MB, and its log is full at {self.limit / 1000**2:.0f} MB: "
                f"{self.cut} lines are left out here. Let it write to a file, or raise log_limit_mb. Its last lines:]"
            )
            for text in self.end:
                self.write(text)
        return self.last
