"""Machines without a network: a network namespace that has no route, and an empty engine inside one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import tree
from scripts.settings import STATE
from tests.engine_support import Done, Stack, eventually, run

PROGRAMS = ("unshare", "nsenter", "ip")
# Downloads of an earlier run are used again.
CACHES = {"PIP_CACHE_DIR": str(STATE / "pip-cache"), "UV_CACHE_DIR": str(STATE / "uv-cache")}
IN_MEMORY_KB = 10 * 1024**2  # memory that must be free for an engine's folder to lie in it
START = """
mount -t tmpfs tmpfs /run
{in_memory}
ip link set lo up
exec dockerd --data-root {folder}/data --exec-root /run/docker --pidfile {folder}/pid --host {host}
"""


def why_not_offline(*more: str) -> str:
    """Return why this machine cannot play one without a network, '' where it can."""
    missing = [name for name in (*PROGRAMS, *more) if not shutil.which(name)]
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    return f"needs {', '.join(missing)}" if missing else ""


def make_checkout(folder: Path) -> Stack:
    """Copy the project as a git clone, to make a bundle from."""
    stack = Stack(tree.copy_to(folder), "windrose-test-bundle", 1)
    person = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for words in (("init", "--quiet"), ("add", "--all", ":!.venv"), ("commit", "--quiet", "--message=all")):
        run("git", "-C", str(folder), *person, *words)
    return stack


def unpack(bundle: Path, folder: Path) -> Path:
    """Unpack the clone in a bundle as a person does."""
    run("tar", f"--directory={folder}", "-xf", str(bundle), "windrose")
    return folder / "windrose"


@dataclass
class Offline:
    """A folder whose programs run without a network."""

    folder: Path
    prefix: tuple[str, ...]
    host: str

    def argv(self, *words: str) -> list[str]:
        """Return a command that runs a program there."""
        return [*self.prefix, *words]

    def run(self, *words: str, timeout: float = 600) -> Done:
        """Run a program there."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            env={**kept, "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextmanager
def offline_engine(folder: Path) -> Iterator[Offline]:
    """Start an engine of its own that has no image and no network; its folder lies in memory where there is plenty."""
    (folder / "data").mkdir(parents=True)
    host = f"unix://{folder}/docker.sock"
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    plenty = int(memory["MemAvailable"].split()[0]) > IN_MEMORY_KB
    in_memory = f"mount -t tmpfs tmpfs {folder}/data" if plenty else ""
    script = START.format(folder=folder, host=host, in_memory=in_memory)
    argv = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-ec", script]
    with (folder / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as engine:
        try:
            there = Offline(folder, ("nsenter", f"--net=/proc/{engine.pid}/ns/net"), host)
            eventually(lambda: there.run("docker", "info").returncode == 0, within=60)
            yield there
        finally:
            engine.terminate()
            engine.wait(timeout=60)
            shutil.rmtree(folder / "data", ignore_errors=True)
