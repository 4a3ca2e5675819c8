"""Which files make up this project: what git tracks, and what it would."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts import process
from scripts.settings import ROOT

MADE_HERE = frozenset({".git", ".venv", ".venv-airflow", ".windrose", "__pycache__", "secrets", "logs", "data"})


def files(root: Path = ROOT) -> list[Path]:
    """Return every file, relative to the root; without git (an unpacked archive) all but what a run leaves."""
    argv = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (root / ".git").exists():
        names = process.run(argv).stdout.split("\0")
        found = [Path(name) for name in names if name and (root / name).is_file()]
    else:
        found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        found = [path for path in found if not MADE_HERE.intersection(path.parts)]
    return sorted(set(found))


def first_line(path: Path) -> str:
    """Return a file's first line, '' where it is no text."""
    with (ROOT / path).open("rb") as file:
        return file.readline(200).decode("utf-8", "replace").strip()


def copy_to(folder: Path) -> Path:
    """Copy the project as git has it, with this checkout's `.venv`: a clone that may be changed or run."""
    for path in files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder
