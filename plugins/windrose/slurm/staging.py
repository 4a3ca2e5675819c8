"""Files for a job before it starts, and from it after its end: which ones go where; windrose.transfer copies them.

An address is a path below the stack's `data/` (`data/in/a.csv`), or `<platform>:<path>` (`allas:bucket/key`,
`hpc-lumi:/scratch/a.csv`). On the job's own side a path lies in the job's folder, unless it begins with a slash.
Globs (`*`, `?`, `[a-z]`, and `**` for folders of any depth) stand for files; a name that exists as it is wins.

Without a target a file keeps its name, a folder too, and what a glob finds its path below the glob's fixed part:
`["data/a.csv", "data/in/*.csv"]`. With targets: `{"data/in/*.csv": "in/", "allas:models/v2.bin": "model.bin"}`, where
a slash at the end makes it a folder. A text of several lines, as a form gives it, is one such pair a line:
`data/in/*.csv -> in/`.
"""

from __future__ import annotations

import posixpath
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from windrose import transfer
from windrose.transfer import File, Place, TransferError
from windrose.transfer_places import SshPlace, place_of

Asked = str | Sequence[str | Sequence[str] | Mapping[str, str]] | Mapping[str, str]
Log = Callable[[str], None]
Rows = list[dict[str, Any]]
Pairs = list[tuple[File, str]]

RESULTS = "data/jobs"  # where outputs go that name no target: a folder a job, named like the job's own
STREAMS = 1  # a task holds one slot of its platform's pool, and a slot is one login
SHOWN = 20  # lines in the log
PLATFORM = re.compile(r"([A-Za-z0-9_.-]+):(.*)", re.DOTALL)
DATA = re.compile(r"^(/opt/airflow/data|/?data)(/|$)|^/")
WILD = re.compile(r"[*?\[]")
WORK = "work"  # of a job's folder: the part in which the job runs, and nothing of ours lies


class StagingError(Exception):
    """Files that cannot be copied as they were asked for, told in a sentence; a retry would not change it."""


class Interrupted(Exception):
    """Files of which some have not arrived, told in a sentence; the next try goes on where this one stopped."""

    def __init__(self, says: str, rows: Rows | None = None) -> None:
        """Take the sentence, and the rows of what was tried."""
        super().__init__(says)
        self.rows = rows or []


@dataclass(frozen=True, slots=True)
class Address:
    """A place and a path there."""

    platform: str  # '' is the stack's data/
    path: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.platform}:{self.path}" if self.platform else posixpath.join("data", DATA.sub("", self.path))


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to copy: a file, a folder or a glob, and where to."""

    source: Address
    target: Address
    is_named: bool  # whether the target was written; else what is copied keeps its name


def stage_in(platform: str, inputs: Asked, folder: str, log: Log) -> Rows:
    """Copy a job's inputs into its folder on the platform; return a row a file. To be called in a task.

    :param platform: id of the platform
    :param inputs: addresses of files, folders and globs, with or without targets in the folder
    :param folder: whole path of the folder on the platform; it need not be there yet
    :param log: takes a line for each file and one at the end

    Raise StagingError where that cannot be, Interrupted where a retry may help. What is there already is skipped.
    """

    def wish(source: str, target: str | None) -> Wish:
        return Wish(read_address(source), below(platform, folder, target or ""), target is not None)

    return copy("inputs", asked=inputs, wish=wish, own=Address(platform, folder), log=log)


def stage_out(platform: str, outputs: Asked, folder: str, log: Log) -> Rows:
    """Copy a job's outputs from its folder on the platform; return a row a file. To be called in a task.

    Raise StagingError where that cannot be, Interrupted where a retry may help. What is there already is skipped.
    """
    by_default = f"{RESULTS}/{posixpath.basename(folder.rstrip('/').removesuffix(f'/{WORK}'))}/"

    def wish(source: str, target: str | None) -> Wish:
        return Wish(below(platform, folder, source), read_address(target or by_default), target is not None)

    return copy("outputs", asked=outputs, wish=wish, own=Address(platform, folder), log=log)


def pairs_of(asked: Asked) -> list[tuple[str, str | None]]:
    """Return what is asked for as pairs of source and target; None where the target is not named."""
    if isinstance(asked, str):
        lines = [line.partition(" -> ") for line in asked.splitlines() if line.strip()]
        return [(source.strip(), target.strip() if arrow else None) for source, arrow, target in lines]
    if isinstance(asked, Mapping):
        return [(str(source), str(target)) for source, target in asked.items()]
    pairs: list[tuple[str, str | None]] = []
    for each in asked:
        if isinstance(each, str | Mapping):
            pairs += pairs_of(each)
        elif isinstance(each, Sequence) and len(each) == 2:
            pairs.append((str(each[0]), str(each[1])))
        else:
            raise TransferError(f"{each!r} names no file; write an address, or a source and a target.")
    return pairs


def read_address(text: str) -> Address:
    """Return the address that a person wrote; without a platform it lies below data/."""
    found = PLATFORM.fullmatch(text)
    return Address(*found.groups()) if found else Address("", text)


def below(platform: str, folder: str, path: str) -> Address:
    """Return a path on the job's own side: in its folder, or where the path begins with a slash anywhere."""
    # Somebody may name the job's platform; every other one would be a mistake.
    path = path.removeprefix(f"{platform}:")
    if "$" in folder:
        raise TransferError(
            f"the folder {folder} holds a variable, which nobody expands here; see `scratch` in secrets.yaml."
        )
    if path.startswith("/"):
        return Address(platform, path)
    if ".." in path.split("/"):
        raise TransferError(f"{path} leads out of the job's folder; write a whole path, which begins with a slash.")
    path = path.removeprefix("./")
    return Address(platform, posixpath.join(folder, path))


def copy(what: str, *, asked: Asked, wish: Callable[[str, str | None], Wish], own: Address, log: Log) -> Rows:
    """Copy all that is asked for, place by place; return a row a file, or say what went wrong."""
    try:
        wishes = [wish(source, target) for source, target in pairs_of(asked)]
    except TransferError as error:
        raise StagingError(f"{what}: {error}") from None
    begun, rows = time.monotonic(), []
    ways = dict.fromkeys((wish.source.platform, wish.target.platform) for wish in wishes)
    for source_platform, target_platform in ways:
        here = [w for w in wishes if (w.source.platform, w.target.platform) == (source_platform, target_platform)]
        rows += copy_way(what, here, own, log)
    if wishes:
        log(summary(what, rows, time.monotonic() - begun))
    failed = [row for row in rows if row["state"] == "failed"]
    if failed:
        count = f"{what}: {len(failed)} of {len(rows)} files have not arrived"
        raise Interrupted(f"{count}. {failed[0]['says']}", rows)
    return rows


def copy_way(what: str, wishes: list[Wish], own: Address, log: Log) -> Rows:
    """Copy all that is wished from one place to another, over one connection to each."""
    opened: list[Place] = []
    try:
        for platform in (wishes[0].source.platform, wishes[0].target.platform):
            # Sizes are compared there: a checksum of what is large would be work, and a login node is not for that.
            opened.append(place_of(platform, checksums=False))
        source, target = opened
        pairs = [pair for wish in wishes for pair in plan(wish, source, target)]
        check(pairs)
        if wishes[0].target.path.startswith(own.path):
            make_private(target, own.path)
        job = transfer.Job(pairs)
        transfer.copy_all(source, target, job, streams=STREAMS, tell=log)
    except TransferError as error:
        raise StagingError(f"{what}: {error}") from None
    except Exception as error:  # of a network or a store: they have many
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        where = " or ".join(dict.fromkeys(filter(None, (wishes[0].source.platform, wishes[0].target.platform))))
        raise Interrupted(f"{what}: {where} could not be asked ({reason.rstrip('.')}); the next try goes on.") from None
    finally:
        for place in opened:
            with suppress(Exception):
                place.close()
    # Large files go first; a person looks for them in the order in which they were asked for.
    order = {path: number for number, (_, path) in enumerate(pairs)}
    rows = [asdict(row) for row in sorted(job.rows, key=lambda row: order[row.file])]
    for number, row in enumerate(rows):
        row["file"] = str(Address(wishes[0].target.platform, row["file"]))
        if number < SHOWN or row["state"] == "failed":
            log(f"{row['state']:<8} {row['bytes']:>14} B {row['checked']:<14} {row['file']} {row['says']}".rstrip())
    return rows


def plan(wish: Wish, source: Place, target: Place) -> Pairs:
    """Return which file goes where; raise where there is none."""
    path, to = wish.source.path, wish.target.path
    if not WILD.search(path) or source.find(path) is not None or source.is_folder(path):
        if not wish.is_named:
            # As `cp -r` does it: a folder keeps its name, and with a slash at the end what it holds is meant.
            is_whole = not path.endswith("/") and source.is_folder(path)
            to = posixpath.join(to, posixpath.basename(path)) if is_whole else f"{to.rstrip('/')}/"
        pairs = transfer.plan(source, path, target, to)
        found = [(file, posixpath.normpath(place)) for file, place in pairs]
    else:
        found = [(file, posixpath.join(to, name)) for file, name in matches(source, path)]
        if len(found) > 1 and wish.is_named and not to.endswith("/"):
            raise TransferError(f"{wish.source} finds {len(found)} files; end the target {wish.target} with a slash.")
        if len(found) == 1 and wish.is_named and not to.endswith("/") and not target.is_folder(to):
            found = [(found[0][0], to)]
    if not found:
        raise TransferError(f"{wish.source} finds no file; look at the name, and at what is there.")
    return sorted(found, key=lambda pair: pair[1])


def matches(source: Place, pattern: str) -> Iterator[tuple[File, str]]:
    """Yield the files that a glob finds, and their paths below its fixed part."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if WILD.search(part))
    base, rule = "/".join(parts[:first]), expression(parts[first:])
    if pattern.startswith("/") and not base:
        base = "/"
    if not source.is_folder(base):
        return
    for each in source.walk(base):
        if rule.fullmatch(each.path):
            path = posixpath.join(base, each.path)
            yield File(path, each.size, each.modified, each.mode), each.path


def expression(parts: Sequence[str]) -> re.Pattern[str]:
    """Return what a glob means; as in a shell, a star crosses no slash and finds no name that begins with a dot."""
    text = ""
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            text += r"(?:[^/.][^/]*/)*" + (r"[^/.][^/]*" if is_last else "")
        else:
            text += ("" if part.startswith(".") else r"(?!\.)") + one_name(part) + ("" if is_last else "/")
    return re.compile(text, re.DOTALL)


def one_name(part: str) -> str:
    """Return what a glob means within one name."""
    text, rest = "", part
    while rest:
        several = re.match(r"\[(!?)(\]?[^\]]*)\]", rest)
        if several and several[2]:
            inside = re.sub(r"([\\^&~|\[])", r"\\\1", several[2])
            text += f"[{'^/' if several[1] else ''}{inside}]"
            rest = rest[several.end() :]
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(rest[0]) or re.escape(rest[0])
            rest = rest[1:]
    return text


def check(pairs: Pairs) -> None:
    """Refuse two files of one name."""
    several = [path for path, count in Counter(path for _, path in pairs).items() if count > 1]
    if several:
        raise TransferError(f"more than one file would become {several[0]}; give them targets of their own.")


def make_private(place: Place, folder: str) -> None:
    """Make a job's folder so that only its owner can look into it, whatever the scratch folder allows."""
    if not isinstance(place, SshPlace):
        return
    above = folder.removesuffix(f"/{WORK}")
    jobs = posixpath.dirname(above)
    scratch = posixpath.dirname(jobs)
    place.make_folder(scratch)
    # Another job may be faster with either.
    with suppress(OSError):
        if not place.is_folder(jobs):
            place.files.mkdir(jobs)
            # A project's scratch is for all its members, and so is the folder for jobs.
            place.files.chmod(jobs, stat.S_IMODE(place.files.stat(scratch or "/").st_mode or 0) | 0o1700)
    with suppress(OSError):
        if not place.is_folder(above):
            place.files.mkdir(above, 0o700)


def summary(what: str, rows: Rows, seconds: float) -> str:
    """Say in a line what was copied."""
    states = Counter(row["state"] for row in rows)
    counts = ", ".join(
        f"{states[state]} {state}" for state in ("copied", "resumed", "skipped", "failed") if states[state]
    )
    moved = sum(row["bytes"] for row in rows) / transfer.MEGABYTE
    return f"{what}: {len(rows)} files ({counts}), {moved:.1f} MB in {seconds:.1f} s"
