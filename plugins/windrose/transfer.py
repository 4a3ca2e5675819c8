"""Copy files from one place to another: only what is not there yet, several at once, and going on where it stopped.

A file grows under a name of its own, which says from which version of the source it comes, and gets its real name when
it is complete and its checksum is right. So whatever is killed at whatever time, a file under its real name is whole.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

CHUNK = 1024 * 1024
SAME_TIME = 2.0  # seconds: some file systems count no finer
MEGABYTE = 1_000_000
SHOWN = 100  # rows of the result
EVERY = 10.0  # seconds between two lines of progress
PASSING = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # names that `passing_name` gives


class TransferError(Exception):
    """A file that could not be copied, told in a sentence."""


class Mismatch(TransferError):
    """A copy that is not what the source is."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a place: its path there, and what decides whether a copy is up to date."""

    path: str
    size: int
    modified: float
    mode: int = 0o644


class Reader(Protocol):
    """Gives a file from some offset to its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""


class Writer(Protocol):
    """Takes a file under a passing name."""

    offset: int  # where to go on reading the source
    kept: int  # so many bytes of an earlier try need not be sent again

    def write(self, data: bytes, /) -> None:
        """Add bytes."""

    def checksum(self) -> str | None:
        """Return the SHA-256 of what has arrived, None where finding out would move it all again."""

    def finish(self) -> None:
        """Give it its real name."""

    def discard(self) -> None:
        """Forget what has arrived."""

    def close(self) -> None:
        """Let go of it; what has arrived stays for another try."""


class Place(Protocol):
    """Where files are: the stack's data/, a platform, or an S3 store."""

    keeps_times: bool  # a copy has the time of its source; else the time at which it was made

    def find(self, path: str) -> File | None:
        """Return a file, None where there is none."""

    def walk(self, path: str) -> Iterator[File]:
        """Yield all files of a folder, with paths below it; links are left out."""

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""

    def open(self, path: str, offset: int, size: int) -> AbstractContextManager[Reader]:
        """Read a file of this size from an offset."""

    def writer(self, path: str, source: File) -> Writer:
        """Take a file, or the rest of it."""

    def checksum(self, path: str) -> str | None:
        """Return the SHA-256 of a file, None where finding out would move it all again."""

    def another(self) -> Place:
        """Return the same place over a connection of its own."""

    def close(self) -> None:
        """Close the connection."""


@dataclass(slots=True)
class Row:
    """What became of one file."""

    file: str
    state: str = "copied"  # copied, resumed, skipped, failed
    bytes: int = 0  # moved this time
    seconds: float = 0.0
    checked: str = ""  # sha256, store (it checked each part), size
    sha256: str = ""
    says: str = ""


@dataclass(slots=True)
class Job:
    """What is to be copied, and what has become of it so far."""

    pairs: list[tuple[File, str]]  # a file of the source, and its path at the target
    rows: list[Row] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    moved: int = 0

    def count(self, size: int) -> None:
        """Count bytes that were moved."""
        with self.lock:
            self.moved += size


def plan(source: Place, source_path: str, target: Place, target_path: str) -> list[tuple[File, str]]:
    """Return which file goes where: a file into a folder or under a new name, what a folder holds into a folder."""
    found = source.find(source_path)
    if found is not None:
        into_folder = target_path in ("", ".") or target_path.endswith("/") or target.is_folder(target_path)
        name = posixpath.basename(source_path)
        return [(found, posixpath.join(target_path, name) if into_folder else target_path)]
    if not source.is_folder(source_path):
        raise TransferError(f"{source_path or 'the path'} is neither a file nor a folder at the source.")
    return [
        (File(posixpath.join(source_path, each.path), each.size, each.modified, each.mode), joined(target_path, each))
        for each in source.walk(source_path)
    ]


def joined(folder: str, file: File) -> str:
    """Return the path of a copy below a folder."""
    return posixpath.join(folder, file.path)


def home(path: str) -> str:
    """Return a path as SFTP takes it: it knows no ~, and begins there anyway."""
    return "." if path in ("", "~", "~/") else path.removeprefix("~/")


def passing_name(path: str, source: File) -> str:
    """Return the name that a copy has while it grows; another version of the source has another one."""
    version = hashlib.sha256(f"{source.size} {int(source.modified)}".encode()).hexdigest()[:8]
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{version}.part")


def is_up_to_date(copy: File | None, source: File, *, keeps_times: bool) -> bool:
    """Say whether a copy has the size and the time of its source."""
    if copy is None or copy.size != source.size:
        return False
    if keeps_times:
        return abs(copy.modified - source.modified) < SAME_TIME
    return copy.modified >= source.modified


def copy_file(source: Place, target: Place, file: File, path: str, *, count: Callable[[int], None]) -> Row:
    """Copy one file, or the rest of it, and compare checksums before it gets its name."""
    row, begun = Row(path), time.monotonic()
    if is_up_to_date(target.find(path), file, keeps_times=target.keeps_times):
        row.state, row.checked = "skipped", "size and time"
        return row
    writer = target.writer(path, file)
    try:
        offset = writer.offset
        digest = None if offset else hashlib.sha256()
        with source.open(file.path, offset, file.size) as reader:
            while data := reader.read(CHUNK):
                if digest is not None:
                    digest.update(data)
                writer.write(data)
                row.bytes += len(data)
                count(len(data))
        if offset + row.bytes != file.size:
            writer.discard()
            raise Mismatch(f"{file.path} changed while it was copied; run it again.")
        compare(source, file, writer, row=row, streamed=digest.hexdigest() if digest is not None else None)
        row.state = "resumed" if writer.kept else "copied"
        writer.finish()
    finally:
        writer.close()
    row.seconds = round(time.monotonic() - begun, 2)
    return row


def compare(source: Place, file: File, writer: Writer, *, row: Row, streamed: str | None) -> None:
    """Compare what has arrived with what was sent; of a resumed file the source is asked for its checksum."""
    arrived = writer.checksum()
    if arrived == "store":
        row.checked, row.sha256 = "store", streamed or ""
        return
    expected = (streamed or source.checksum(file.path)) if arrived else streamed
    row.sha256 = expected or ""
    row.checked = "sha256" if arrived and expected else "size"
    if arrived and expected and arrived != expected:
        writer.discard()
        raise Mismatch(f"{file.path} has another checksum at the target; what arrived is deleted, run it again.")


def copy_all(source: Place, target: Place, job: Job, *, streams: int, tell: Callable[[str], None]) -> None:
    """Copy all files over so many streams, each with connections of its own; tell how far it is."""
    waiting: SimpleQueue[tuple[File, str]] = SimpleQueue()
    # Large ones first: a single one at the end would keep one stream busy and the others idle.
    for pair in sorted(job.pairs, key=lambda pair: -pair[0].size):
        waiting.put(pair)
    places = [(source, target)]
    try:
        for _ in range(min(streams, len(job.pairs)) - 1):
            places.append((source.another(), target.another()))
        with ThreadPoolExecutor(max_workers=len(places)) as pool:
            watch([pool.submit(copy_waiting, *pair, waiting, job) for pair in places], job, tell)
    finally:
        for place in [place for pair in places for place in pair]:
            with suppress(Exception):
                place.close()
    for file, path in remaining(waiting):
        job.rows.append(Row(path, "failed", says=f"{file.path} was not tried any more"))


def watch(at_work: list[Future[None]], job: Job, tell: Callable[[str], None]) -> None:
    """Wait for all streams, and tell now and then how far they are."""
    begun = told = time.monotonic()
    while not all(each.done() for each in at_work):
        time.sleep(0.1)
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            tell(progress(job, told - begun))
    for each in at_work:
        each.result()


def remaining(waiting: SimpleQueue[tuple[File, str]]) -> Iterator[tuple[File, str]]:
    """Yield what nobody has taken."""
    with suppress(Empty):
        while True:
            yield waiting.get_nowait()


def copy_waiting(source: Place, target: Place, waiting: SimpleQueue[tuple[File, str]], job: Job) -> None:
    """Copy what waits until nothing does; over a connection that is broken nothing more is tried."""
    for file, path in remaining(waiting):
        is_broken = False
        try:
            row = copy_file(source, target, file, path, count=job.count)
        except TransferError as error:
            row = Row(path, "failed", says=str(error))
        except Exception as error:  # of a network, a disk or a store: they have many
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            row = Row(path, "failed", says=f"{file.path}: {reason}; what has arrived stays, the next try goes on.")
            is_broken = not (answers(source, file.path) and answers(target, path))
        with job.lock:
            job.rows.append(row)
        if is_broken:
            return


def answers(place: Place, path: str) -> bool:
    """Say whether a place can still be asked, whatever it says."""
    try:
        place.find(path)
    except (TransferError, PermissionError):
        return True
    except Exception:  # whatever it is, the next file would meet it, too
        return False
    return True


def progress(job: Job, seconds: float) -> str:
    """Say how far it is."""
    return (
        f"{len(job.rows)} of {len(job.pairs)} files, {job.moved / MEGABYTE:.0f} MB, "
        f"{job.moved / MEGABYTE / seconds:.1f} MB/s"
    )


def result_of(job: Job, seconds: float) -> dict[str, Any]:
    """Return the sums and a row a file: those that failed first, then the largest."""
    states = Counter(row.state for row in job.rows)
    rows = sorted(job.rows, key=lambda row: (row.state != "failed", -row.bytes))
    return {
        "files": len(job.rows),
        **{state: states[state] for state in ("copied", "resumed", "skipped", "failed")},
        "bytes": job.moved,
        "seconds": round(seconds, 2),
        "mb_per_s": round(job.moved / MEGABYTE / seconds, 1) if seconds else 0.0,
        "rows": [asdict(row) for row in rows[:SHOWN]],
    }
