"""How is an installed Docker Engine started, and what if it does not come up?"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from scripts import process
from scripts.console import progress
from scripts.errors import KitError
from scripts.settings import STATE, environment

FOLDER = STATE / "engine"
LOG = FOLDER / "dockerd.log"
PID = FOLDER / "dockerd.pid"
RUN = Path("/var/run")
PATIENCE = 60.0


def start_engine(answers: Callable[[], bool]) -> None:
    """Start the engine, by systemd where it runs, else by ourselves, and wait until it answers."""
    if Path("/run/systemd/system").is_dir():
        process.run(["systemctl", "enable", "--now", "docker"], timeout=120)
        tail = ["journalctl", "--unit", "docker", "--lines", "15", "--no-pager", "--output", "cat"]
        wait_for_answer(answers, lambda: process.run(tail, check=False).stdout, "journalctl -u docker")
        return
    clear_left_overs(RUN)
    FOLDER.mkdir(parents=True, exist_ok=True)
    pid = find_starting(RUN)
    if pid is None:
        LOG.write_bytes(b"")
        pid = process.start(["dockerd"], log=LOG, environment=environment())
        progress(f"started dockerd (process {pid}, log {LOG.relative_to(STATE.parent)})")
    PID.write_text(f"{pid}\n", encoding="utf-8")
    wait_for_answer(answers, lambda: LOG.read_text(errors="replace") if LOG.exists() else "", str(LOG), pid)


def wait_for_answer(answers: Callable[[], bool], log: Callable[[], str], where: str, pid: int | None = None) -> None:
    """Wait until the engine answers; else show its last words."""
    ended = False

    def answered_or_ended() -> bool:
        nonlocal ended
        ended = pid is not None and not is_program(pid, "dockerd")
        return answers() or ended

    process.wait_until(answered_or_ended, seconds=PATIENCE)
    if answers():
        return
    for line in log().splitlines()[-15:]:
        progress(f"  {line[:300]}")
    problem = "ended at once" if ended else f"does not answer after {PATIENCE:.0f} s"
    raise KitError("dockerd", problem, f"read the lines above ({where}), mend it and run `make engine CONFIRM=yes`")


def find_starting(folder: Path) -> int | None:
    """Return the engine that is on its way already: an init script starts one while its package is installed."""
    found = (read_pid(folder / name) for name in ("docker.pid", "docker-ssd.pid"))
    return next((pid for pid in found if pid is not None and is_program(pid, "dockerd")), None)


def clear_left_overs(folder: Path) -> None:
    """Remove what a dead engine left, which would keep a new one from starting."""
    pid_files = {folder / "docker.pid": "dockerd", folder / "docker/containerd/containerd.pid": "containerd"}
    for path, program in pid_files.items():
        pid = read_pid(path)
        if path.exists() and (pid is None or not is_program(pid, program)):
            path.unlink()
            progress(f"removed {path}: its process is gone")
    # dockerd waits in vain for a containerd whose socket is there while nobody listens.
    for path in (folder / "containerd/containerd.sock", folder / "docker/containerd/containerd.sock"):
        if path.is_socket() and not somebody_listens(path):
            path.unlink()
            progress(f"removed {path}: nobody listens there")


def read_pid(path: Path) -> int | None:
    """Return the process id in a file, if there is one."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def is_program(pid: int, name: str) -> bool:
    """Say whether a process runs, is no zombie, and is the program we mean: ids are used again."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    command, _, rest = status.partition("(")[2].rpartition(")")
    return command == name and not rest.strip().startswith("Z")


def somebody_listens(path: Path) -> bool:
    """Say whether a program answers at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
