"""What of a job's output stands in the log of its task? All that can be read, up to a limit; and always its end."""

from __future__ import annotations

import codecs
import re
from collections import deque

from windrose.slurm.model import KEPT_LINES

LONGEST_LINE = 4000  # characters; what comes behind them stays in the file
LINE_COST = 400  # bytes that Airflow writes around each line
KEPT_BYTES = 32 * 1024  # of each stream's last lines, which are stored with the task
# Colours, movements of the cursor, titles of windows: whatever a terminal would have obeyed.
ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*.?"
)
# Airflow's page takes these for the begin and end of a fold, wherever they stand.
FOLDS = re.compile(r"::(?=(?:end)?group::)")


def readable(line: str) -> str:
    """Return a line without anything that a terminal or a page would obey."""
    text = FOLDS.sub(": :", ESCAPES.sub("", line))
    if text.replace("\t", "").isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\t" else " " if sign.isspace() else "" for sign in text)


def last_drawn(text: str) -> str:
    """Return, of a progress bar that draws over itself, what was drawn last."""
    return text.rstrip("\r").rpartition("\r")[2]


class Stream:
    """Cuts what comes into lines, and keeps the last of them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.begun = ""
        self.is_cut = False  # whether the line that has begun is too long, and was shown as far as it goes
        self.last: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, data: bytes, *, final: bool = False) -> list[str]:
        """Take what has come; return the lines that are whole now."""
        *whole, self.begun = (self.begun + self.decoder.decode(data, final)).split("\n")
        lines = []
        for line in whole:
            lines += self.ended(line)
        if len(self.begun) > LONGEST_LINE:
            self.begun = last_drawn(self.begun)
        if len(self.begun) > LONGEST_LINE:
            lines += self.ended(self.begun, is_cut=True)
            self.begun, self.is_cut = "", True
        if final and self.begun:
            lines += self.ended(self.begun)
            self.begun = ""
        self.last.extend(lines)
        if lines and sum(map(len, self.last)) > KEPT_BYTES:
            self.last = deque(bounded(list(self.last)), maxlen=KEPT_LINES)
        return lines

    def ended(self, line: str, *, is_cut: bool = False) -> list[str]:
        """Return the line as it is shown; nothing where its beginning has been shown already."""
        if self.is_cut:
            self.is_cut = False
            return []
        text = readable(last_drawn(line))
        if is_cut or len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]} [cut: the line goes on in the file]"
        return [text]

    def restart(self) -> None:
        """Begin anew, because the file did."""
        self.decoder.reset()
        self.begun, self.is_cut = "", False


class JobLog:
    """Both streams of a job on their way into a log that takes so many bytes."""

    def __init__(self, limit: int) -> None:
        """Remember the limit."""
        self.limit = limit
        self.streams = {"out": Stream(), "err": Stream()}
        self.taken = 0  # what the lines take in the log
        self.size = 0  # and what of the job's own is in it
        self.is_full = False

    def add(self, out: bytes, err: bytes, *, final: bool = False) -> list[str]:
        """Take what has come; return what is to be written."""
        shown = []
        for name, data in (("out", out), ("err", err)):
            for line in self.streams[name].add(data, final=final):
                size = len(line.encode())
                self.taken += size + LINE_COST
                self.is_full = self.is_full or self.taken > self.limit
                if not self.is_full:
                    self.size += size + 1
                    shown.append(marked(name, line))
        return shown

    def kept(self) -> dict[str, list[str]]:
        """Return the last lines of each stream."""
        return {name: bounded(stream.last) for name, stream in self.streams.items()}


def marked(name: str, line: str) -> str:
    """Return a line of the job, so that nobody takes it for one of ours."""
    return f"{name}| {line}"


def bounded(lines: deque[str] | list[str]) -> list[str]:
    """Return the last of these lines, no more than can be stored with a task."""
    kept: deque[str] = deque()
    size = 0
    for line in reversed(list(lines)[-KEPT_LINES:]):
        size += len(line.encode()) + 1
        if size > KEPT_BYTES:
            break
        kept.appendleft(line)
    return list(kept)
