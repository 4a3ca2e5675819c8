"""Measure registering 100 platforms, beside the tutorial's way: one `airflow connections add` for each.

Both register with the same copy of this stack, while it runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import tree  # noqa: E402

PLATFORMS, SAMPLE = 100, 5
PROJECT = "windrose-bench"
PORT = 18098


def run(folder: Path, *argv: str) -> float:
    """Run a command; return the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv[:4])} failed: {done.stderr.strip()[-500:]}")
    return time.monotonic() - began


def describe_platforms(folder: Path) -> None:
    """Write a secrets.yaml of a hundred platforms that log in with one key."""
    run(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "bench-key"))
    names = range(PLATFORMS)
    nodes = {f"node-{n}": {"type": "ssh", "address": f"n{n}.example.org", "user": "me", "key": "all"} for n in names}
    file = {"platforms": {"hpc": nodes}, "connections": {"ssh": {"all": {"file": "bench-key", "phrase": "empty"}}}}
    path = folder / "secrets.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(file), encoding="utf-8")  # JSON is YAML


def add_one(folder: Path, number: int) -> float:
    """Register one connection as the tutorial does."""
    fields = {"conn_type": "ssh", "login": "me", "host": f"n{number}.example.org", "port": 22}
    command = ["airflow", "connections", "add", f"loop-{number}", "--conn-json", json.dumps(fields)]
    return run(folder, "docker", "compose", "exec", "--no-TTY", "airflow-dag-processor", *command)


def main() -> None:
    """Start a copy, measure both, print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree.copy_to(folder)
        (folder / ".env").write_text(f"COMPOSE_PROJECT_NAME={PROJECT}\nAIRFLOW_PORT={PORT}\n", encoding="utf-8")
        try:
            run(folder, "make", "up")
            describe_platforms(folder)
            print("registering 100 platforms")
            print(f"  make connections           {run(folder, 'make', 'connections'):.1f} s")
            print(f"  the same again             {run(folder, 'make', 'connections'):.1f} s")
            loop = sum(add_one(folder, number) for number in range(SAMPLE)) / SAMPLE
            print(f"  one command a platform     {loop * PLATFORMS:.0f} s ({SAMPLE} measured, {loop:.1f} s each)")
        finally:
            subprocess.run(["make", "clean", "CONFIRM=yes"], cwd=folder, capture_output=True, check=False)


if __name__ == "__main__":
    main()
