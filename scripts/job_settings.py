"""What may stand in the settings of container jobs?"""

from __future__ import annotations

import re
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent
# A job could hurt the machine, or read what is not for it, through these and what is in them.
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr", "var/lib/docker", "var/run")
EVERYBODYS = ("", "home", "media", "mnt", "opt", "root", "tmp", "var", "var/lib")  # only folders in them


def folders(value: str) -> str:
    """Check JOB_MOUNTS: folders of data, with nothing in them that the machine or the stack lives on."""
    paths = [Path(word.strip()) for word in value.split(",") if word.strip()]
    # The engine goes to a folder by its name. Where a task or a job can write to what holds that name, it could put a
    # link in its place and lead the engine anywhere; so none may be a link, or lie in another one or in data/.
    if any(path != other and path.is_relative_to(other) for path in paths for other in paths):
        raise ValueError("folders of which none lies in another one, for example /data/projects,/scratch")
    for path in paths:
        real = path.resolve()
        inside_system = any(real.is_relative_to(f"/{name}") for name in SYSTEM)
        ours = CLONE.is_relative_to(real) or (real.is_relative_to(CLONE) and real != CLONE / "data")
        too_much = ours or str(real) in [f"/{name}" for name in EVERYBODYS]
        plain = path == real and path.is_absolute() and ".." not in path.parts and not re.search(r"[\s:$]", str(path))
        if not plain or inside_system or too_much or not real.is_dir():
            raise ValueError("whole paths of folders with data that are there, for example /data/projects,/scratch")
    return ",".join(map(str, paths))


def shares(value: str) -> str:
    """Check JOB_NFS."""
    words = [word.strip() for word in value.split(",") if word.strip()]
    if not all(re.fullmatch(r"[A-Za-z0-9.-]+:/[\w./-]+", word) and "/.." not in word for word in words):
        raise ValueError("server:/path, for example nfs.example.org:/export/data, with commas between several")
    return ",".join(word.rstrip("/") for word in words)


def images(value: str) -> str:
    """Check JOB_IMAGES."""
    words = [word.strip() for word in value.split(",") if word.strip()]
    if not all(re.fullmatch(r"[a-z0-9*][\w./:@*-]*", word) and "//" not in word for word in words):
        raise ValueError("images with * in them, for example registry.example.org/team/*,python:3.13")
    return ",".join(words)
