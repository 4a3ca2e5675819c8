"""What this machine gives the embedded runtime: memory, cores, file system, free ports, other people."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from scripts import process
from scripts.errors import KitError
from scripts.limits import A_TASK_MB, MOST_TASKS, TASKS_PER_CORE
from scripts.settings import Settings, environment

OWN_MB = 1300  # Airflow's four processes at work
LEAST_MB = 1800  # they and two tasks
# SQLite's locks, and the memory its processes share, do not work between machines.
SHARED = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs", "9p", "fuse.sshfs", "pvfs")
MOUNTS = Path("/proc/self/mountinfo")
MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OTHER_USERS = 2  # so many others logged in make it a machine for many


def memory_mb(meminfo: Path = MEMINFO) -> int:
    """Return the memory there is for us: the machine's, or less where this session is limited."""
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else []
    total = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemTotal:")), 4096)
    return min([total, *cgroup_limits_mb()])


def cgroup_limits_mb(own: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> list[int]:
    """Return every limit on the way from this process's control group to the root."""
    try:
        path = own.read_text(encoding="ascii").strip().splitlines()[-1].rpartition(":")[2].strip("/")
    except (OSError, IndexError):
        return []
    folders = [root / path, *(root / path).parents]
    limits = []
    for folder in folders:
        if root in (folder, *folder.parents):
            try:
                limits.append(int((folder / "memory.max").read_text()) // 1024**2)
            except (OSError, ValueError):
                continue
    return limits


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallelism(settings: Settings) -> int:
    """Return how many tasks may run at once; too little memory for Airflow itself is an error."""
    total = int(settings["MEMORY_MB"] or memory_mb())
    if total < LEAST_MB:
        fix = "ask for more (a service node, a larger machine), or let something else end"
        raise KitError("memory", f"{total} MB are there, Airflow and its tasks need {LEAST_MB} MB", fix)
    fitting = max(2, min((total - OWN_MB) // A_TASK_MB, cores() * TASKS_PER_CORE, MOST_TASKS))
    return int(settings["PARALLELISM"] or fitting)


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the kind of file system a folder lies on, '' where it cannot be told."""
    place, found, longest = path.resolve(), "", -1
    for line in mounts.read_text(encoding="utf-8").splitlines() if mounts.exists() else []:
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].replace("\\040", " "))
        if (place == point or point in place.parents) and len(point.parts) >= longest:
            found, longest = right.split()[0], len(point.parts)
    return found


def is_shared(kind: str) -> bool:
    """Say whether several machines may use this file system at once."""
    return kind.startswith(SHARED)


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As a server would: a port whose last connection has just closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def others_logged_in() -> int:
    """Return how many other people are logged in."""
    if not shutil.which("who"):
        return 0
    names = {line.split()[0] for line in process.run(["who"], check=False).stdout.splitlines() if line.split()}
    caller = environment()
    return len(names - {caller.get("USER", ""), caller.get("LOGNAME", "")})


def login_node_warning() -> str:
    """Return what a person should know who starts a service where many people log in, '' elsewhere."""
    if not shutil.which("sbatch") or others_logged_in() < OTHER_USERS:
        return ""
    return (
        "this looks like a cluster's login node (Slurm is here, and others are logged in): sites allow light work only "
        "there and end what runs for long; ask yours for a service node or a virtual machine"
    )
