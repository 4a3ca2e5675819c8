"""Which release is this clone, and which files make it?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts import process
from scripts.errors import KitError
from scripts.settings import ROOT, STATE

RECORD = STATE / "release.json"  # what a clone that came out of a bundle knows of itself: it has no git
CHANGED = "-changed"
YOURS = ("packages.local.txt", "packages.local.apt")  # a person's own, but what is shipped was made with them


@dataclass(frozen=True, slots=True)
class Release:
    """A release by the name people use, and by the commit it is."""

    name: str
    commit: str
    files: tuple[str, ...] = ()


def read_release() -> Release:
    """Return the release of this clone with its files: what git tracks, or what the bundle brought."""
    if not (ROOT / ".git").exists():
        return read_record()
    # The name of a tag may be missing elsewhere, and the length of a short hash differs: a commit is compared.
    commit = git("describe", "--always", "--abbrev=12", "--exclude=*", f"--dirty={CHANGED}").strip()
    tag = process.run(["git", "-C", str(ROOT), "describe", "--tags", "--exact-match"], check=False)
    name = tag.stdout.strip() if tag.code == 0 and not commit.endswith(CHANGED) else commit
    tracked = [name for name in git("ls-files", "-z", "--cached").split("\0") if name and (ROOT / name).is_file()]
    return Release(name, commit, tuple(sorted(set(tracked))))


def git(*words: str) -> str:
    """Ask git about this clone."""
    return process.run(["git", "-C", str(ROOT), *words]).stdout


def read_record() -> Release:
    """Return what the bundle wrote into the clone that it held."""
    try:
        found = json.loads(RECORD.read_text(encoding="utf-8"))
        return Release(str(found["name"]), str(found["commit"]), tuple(map(str, found["files"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "take a git clone, or the folder that a bundle holds (`tar -xf ... windrose`)"
        raise KitError("this folder", "is of no known release", fix) from error


def write_record(release: Release) -> bytes:
    """Return the record as it goes into a bundle."""
    return json.dumps(asdict(release), indent=1).encode() + b"\n"


def is_executable(path: Path) -> bool:
    """Say whether a file is a program."""
    return bool(path.stat().st_mode & 0o100)
