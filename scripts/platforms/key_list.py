"""Which keys the keys service looks after, and which folders of this machine it has to see for that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import KitError
from scripts.platforms.key_files import shown_path
from scripts.platforms.plan import Key

NAME = "keys.json"
MAX_LINKS = 40
# A phrase from a command or from this shell's environment is unknown to the service until a person's command tells it.
SOURCES = {"none": "none", "literal": "secrets.yaml", "file": "file", "environment": "asked", "command": "asked"}


def write(keys: Sequence[Key], secrets_file: Path, folder: Path, uid: int | None) -> None:
    """Write the list for the service where it has changed; it holds no secret."""
    text = json.dumps(key_list(keys, secrets_file), indent=1) + "\n"
    path, fresh = folder / NAME, folder / f".{NAME}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        fresh.rename(path)
    if uid is not None and os.geteuid() == 0:
        for place in (folder, path):
            os.chown(place, uid, 0)


def key_list(keys: Sequence[Key], secrets_file: Path) -> dict[str, Any]:
    """Return what the service is told: real folders, so that it finds them where they are mounted."""
    seen = tops(keys)
    links = [link for key in kept(keys) for path in sources(key) for link in links_on(path)]
    # The service reads those that it sees itself: they may change or go.
    unseen = [link for link in links if not any(top in (link.parent, *link.parent.parents) for top in seen)]
    return {
        "version": 1,
        "secrets_file": str(secrets_file.resolve()),
        "links": {str(link): os.readlink(link) for link in unseen},
        "keys": [entry(key, key.file) for key in kept(keys) if key.file is not None],
    }


def mounts(keys: Sequence[Key], secrets_file: Path) -> list[Path]:
    """Return the real folders that hold the keys and what leads to them, and secrets.yaml where it holds a phrase."""
    holds_phrase = any(key.phrase.source == "literal" for key in kept(keys))
    return tops(keys) + ([secrets_file.resolve()] if holds_phrase else [])


def tops(keys: Sequence[Key]) -> list[Path]:
    """Return the folders to mount, none inside another."""
    folders = {folder for key in kept(keys) for path in sources(key) for folder in folders_of(key, path)}
    return sorted(folder for folder in folders if not any(other in folder.parents for other in folders))


def kept(keys: Sequence[Key]) -> list[Key]:
    """Return the keys that lie on this machine."""
    return [key for key in keys if key.file is not None]


def sources(key: Key) -> list[Path]:
    """Return the files that the service follows for a key."""
    files = [key.file, Path(f"{key.file}-cert.pub") if key.file is not None and key.kind == "ssh" else None]
    return [path for path in (*files, key.phrase.file if key.phrase.source == "file" else None) if path is not None]


def entry(key: Key, file: Path) -> dict[str, Any]:
    """Return one key of the list."""
    phrase = {"source": SOURCES[key.phrase.source]}
    if key.phrase.source == "file" and key.phrase.file is not None:
        phrase["path"] = str(in_real_folder(key.phrase.file))
    if key.phrase.source == "literal":
        phrase["key"] = key.name
    kind = {"kind": key.kind} if key.kind != "ssh" else {}
    return {"target": key.target, "file": str(in_real_folder(file)), "phrase": phrase, **kind}


def in_real_folder(path: Path) -> Path:
    """Return a path with its folder's links followed, its own not: the service follows that one as it changes."""
    return path.parent.resolve() / path.name


def links_on(path: Path) -> Iterator[Path]:
    """Yield every link that opening this path goes through, each by its real folder."""
    rest, here = list(reversed(path.parts[1:])), Path("/")
    for _ in range(MAX_LINKS * 10):
        if not rest:
            return
        part = rest.pop()
        here = here.parent if part == ".." else here / part
        if here.is_symlink():
            yield here
            target = Path(os.readlink(here))
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            here = Path("/") if target.is_absolute() else here.parent


def folders_of(key: Key, path: Path) -> list[Path]:
    """Return the folders whose changes decide what a path leads to."""
    where, named = f"secrets.yaml line {key.line}", in_real_folder(path).parent
    if not named.is_dir():
        problem = f"key {key.name}: the folder of {shown_path(path)} does not exist"
        raise KitError(where, problem, "write where it lies, or make the folder")
    found = [named, path.resolve().parent, *(link.parent for link in links_on(path) if may_be_pointed_elsewhere(link))]
    if Path("/") in found:
        problem = f"key {key.name}: {shown_path(path)} leads to a file right below /"
        raise KitError(where, problem, "move it into a folder of its own, such as ~/.ssh")
    return [folder for folder in found if folder.is_dir()]


def may_be_pointed_elsewhere(link: Path) -> bool:
    """Say whether the service has to see a link change.

    That is any link to a file, and one to a folder such as keys/current; but no link beside somebody's home or right
    below it: those stay, and their folders would show far more than keys.
    """
    home = Path.home().resolve()
    return not link.is_dir() or (len(link.parent.parts) > 2 and link.parent not in (home, *home.parents))
