"""Measure the stack without Docker beside `airflow standalone`, with the same Airflow, in one run.

From nothing: what is installed, how long it takes and how large it is. Then, with a new database each: time to healthy,
memory when idle, and 200 tasks queued at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from stack import PORT, ROOT, Stack, run_dag, wait

sys.path.insert(0, str(ROOT))

from scripts import tree  # noqa: E402

SETTLE = int(os.environ.get("BENCH_SETTLE", "60"))  # seconds between healthy and the memory reading
TASKS = 200
LIMIT = 180  # seconds for them: those of a scheduler that has died never end
DAG = f"""
from airflow.sdk import DAG, task

with DAG("bench-wide", schedule=None, is_paused_upon_creation=False, max_active_tasks={TASKS}):
    @task
    def work(number):
        pass
    work.expand(number=list(range({TASKS})))
"""


@dataclass
class Processes(Stack):
    """A stack of processes, which are known by their folder in command line or environment."""

    environment: dict[str, str] = field(default_factory=dict)

    def memory_mb(self) -> float:
        """Return the sum of the memory of the stack's processes, shared pages counted once."""
        return sum(pss_mb(process) for process in Path("/proc").glob("[0-9]*") if self.owns(process))

    def owns(self, process: Path) -> bool:
        """Say whether a process is the stack's; this program and what it starts for itself aside."""
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            return False
        return str(self.folder).encode() in text and int(process.name) != os.getpid()

    def is_healthy(self) -> bool:
        """Say whether every part of it is."""
        found = self.call("GET", "/api/v2/monitor/health") or {}
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((found.get(part) or {}).get("status") == "healthy" for part in parts)


def pss_mb(process: Path) -> float:
    """Return what one process takes."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def size_mb(folder: Path) -> float:
    """Return what a folder takes on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink()) / 1024**2


def measure(stack: Processes, *, healthy: float) -> dict[str, str]:
    """Measure a stack that has just become healthy."""
    time.sleep(SETTLE)
    figures = {"new database to healthy": f"{healthy:.1f} s", f"memory {SETTLE} s later": f"{stack.memory_mb():.0f} MB"}
    (stack.folder / "dags").mkdir(exist_ok=True)
    (stack.folder / "dags" / "bench_dag.py").write_text(DAG)
    for run in ("first", "second"):
        took = run_dag(stack, "bench-wide", LIMIT)
        rate = f"{TASKS * 60 / took:.0f} a minute" if took < LIMIT else f"failed, or did not end within {LIMIT} s"
        figures[f"{TASKS} tasks at once, {run}"] = rate
        if took >= LIMIT:
            break
    return figures


def own(folder: Path) -> tuple[Processes, dict[str, str]]:
    """Bring a copy of this clone up from nothing, and again with a new database."""
    tree.copy_to(folder)
    (folder / ".env").write_text(f"RUNTIME=embedded\nAIRFLOW_PORT={PORT}\n")
    stop = ["make", "clean", "CONFIRM=yes"]
    stack = Processes("windrose", folder, ["make", "up"], stop, f"http://127.0.0.1:{PORT}", "admin:")
    figures = {"nothing to healthy": f"{stack.run(stack.start):.1f} s"}
    figures["installed"] = f"{size_mb(folder / '.venv-airflow'):.0f} MB"
    figures["second start"] = f"{stack.run(stack.start):.1f} s"
    stack.run(["make", "down"])
    shutil.rmtree(folder / ".windrose" / "embedded")
    return stack, figures | measure(stack, healthy=stack.run(stack.start))


def standalone(folder: Path, airflow: Path) -> dict[str, str]:
    """Measure `airflow standalone` with a new database."""
    options = {
        "CORE__LOAD_EXAMPLES": "False",
        "API__PORT": str(PORT + 1),
        "API__BASE_URL": f"http://127.0.0.1:{PORT + 1}",
    }
    options |= {"CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{PORT + 1}/execution/"}
    mine = {"AIRFLOW_HOME": str(folder), **{f"AIRFLOW__{name}": value for name, value in options.items()}}
    path = f"{airflow.parent}:{os.environ['PATH']}"
    stack = Processes("airflow standalone", folder, [], [], f"http://127.0.0.1:{PORT + 1}", "")
    with (folder / "log").open("wb") as log:
        words = {"stdout": log, "stderr": subprocess.STDOUT, "env": {**os.environ, **mine, "PATH": path}}
        process = subprocess.Popen([airflow, "standalone"], start_new_session=True, **words)  # type: ignore[call-overload]
    try:
        passwords = folder / "simple_auth_manager_passwords.json.generated"
        healthy = wait(lambda: passwords.exists() and passwords.read_text().strip())
        stack.login = ":".join(*json.loads(passwords.read_text()).items())
        healthy += wait(stack.is_healthy)
        return measure(stack, healthy=healthy)
    finally:
        process.terminate()
        time.sleep(5)
        for left in [entry for entry in Path("/proc").glob("[0-9]*") if stack.owns(entry)]:
            os.kill(int(left.name), signal.SIGKILL)


def show(name: str, figures: dict[str, str]) -> None:
    """Print the figures of one stack."""
    print(name, flush=True)
    for what, value in figures.items():
        print(f"  {what:26} {value}", flush=True)


def main() -> None:
    """Measure one after the other, and print the figures below each other."""
    with tempfile.TemporaryDirectory() as folder:
        stack, figures = own(Path(folder) / "windrose")
        show("windrose without Docker", figures)
        try:
            subprocess.run(["make", "down"], cwd=stack.folder, capture_output=True, check=True)
            (Path(folder) / "home").mkdir()
            airflow = stack.folder / ".venv-airflow" / "bin" / "airflow"
            show("airflow standalone", standalone(Path(folder) / "home", airflow))
        finally:
            subprocess.run(stack.stop, cwd=stack.folder, capture_output=True, check=False)


if __name__ == "__main__":
    main()
