"""Measure a thousand Slurm jobs whose tasks wait at once, beside fifty of each operator that the SSH provider has.

All of it runs on the demo cluster of a copy of this clone. Its partition is closed while the tasks come, so that every
job waits at the same time; then one window is measured, the partition is opened, and all jobs have to end well.
What the cluster was asked is counted in its own sshd's log. Smaller: BENCH_JOBS=100 BENCH_PEERS=10 BENCH_WINDOW=60.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from stack import PORT, PROJECT, ROOT, Stack, wait, wait_for_run

sys.path.insert(0, str(ROOT))

from scripts import tree  # noqa: E402

JOBS = int(os.environ.get("BENCH_JOBS", "1000"))
PEERS = int(os.environ.get("BENCH_PEERS", "50"))
WINDOW = int(os.environ.get("BENCH_WINDOW", "180"))  # seconds that are measured while everything waits
LIMIT = 3600  # seconds for all tasks to come, and for all jobs to end
STILL = 60  # seconds without a change: what does not wait by then waits for a slot
CLUSTER, PLATFORM, PARTITION = "slurm-demo", "hpc-demo", "standard"
CONNECTIONS, COMMANDS = r"Accepted \S+ for ", r"Starting session: (?:command|subsystem|shell)"
# The provider's operators know no Slurm: they run a command that waits for its job.
DAGS = f"""
from airflow.providers.ssh.operators.ssh import SSHOperator
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

from windrose.operators.slurm import SlurmOperator

WIDE = {{"schedule": None, "is_paused_upon_creation": False, "max_active_tasks": {max(JOBS, PEERS)}}}
WAIT = "sbatch --wait --quiet --output=/dev/null --wrap=true"

with DAG("bench-slurm-operator", **WIDE):
    SlurmOperator.partial(task_id="job", platform="{PLATFORM}").expand(command=["true"] * {JOBS})

with DAG("bench-ssh-operator", **WIDE):
    partial = SSHOperator.partial(task_id="job", ssh_conn_id="{PLATFORM}", cmd_timeout=None)
    partial.expand(command=[WAIT] * {PEERS})

with DAG("bench-ssh-remote-job", **WIDE):
    SSHRemoteJobOperator.partial(task_id="job", ssh_conn_id="{PLATFORM}").expand(command=[WAIT] * {PEERS})
"""
CPU = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"


@dataclass
class Scene:
    """One operator's tasks, all waiting at once."""

    dag: str
    tasks: int
    stack: Stack
    most: dict[str, int] = field(default_factory=dict)  # of tasks in each state, during the window

    def states(self, run: str) -> dict[str, int]:
        """Return how many tasks are in the states that matter."""
        path = f"/api/v2/dags/{self.dag}/dagRuns/{run}/taskInstances?limit=1&state="
        asked = ("running", "deferred", "success", "failed")
        return {state: (self.stack.call("GET", path + state) or {}).get("total_entries", 0) for state in asked}

    def gather(self, run: str) -> float:
        """Wait until no more tasks come: all of them wait, or the slots are full; return the seconds until the last."""
        began = changed = time.monotonic()
        before: dict[str, int] = {}
        while (now := time.monotonic()) - changed < STILL and now - began < LIMIT:
            states = self.states(run)
            if states != before:
                before, changed = states, now
            if states["deferred"] == self.tasks:
                changed = now
                break
            time.sleep(2)
        return changed - began

    def measure(self) -> dict[str, str]:
        """Let all tasks wait, measure that, and let all jobs end."""
        control("state=down")
        start = stamp()
        run = wait_for_run(self.stack, self.dag)
        coming = self.gather(run)
        came = asked_since(start)
        figures = self.window(run)
        control("state=up")
        path = f"/api/v2/dags/{self.dag}/dagRuns/{run}"
        ended = wait(lambda: (self.stack.call("GET", path) or {}).get("state") in ("success", "failed"), LIMIT)
        states = self.states(run)
        return {
            "until all wait, or the slots are full": f"{coming:.0f} s, {came}",
            **figures,
            "from open to the end of the run": f"{ended:.0f} s, {states['success']} of {self.tasks} well",
            "in all": asked_since(start),
        }

    def window(self, run: str) -> dict[str, str]:
        """Measure while everything waits."""
        names = ("airflow-triggerer", "airflow-scheduler")
        start, before = stamp(), {name: cpu_seconds(name) for name in names}
        began = time.monotonic()
        while time.monotonic() - began < WINDOW:
            for state, count in self.states(run).items():
                self.most[state] = max(self.most.get(state, 0), count)
            time.sleep(10)
        took = time.monotonic() - began
        figures = {
            f"{took:.0f} s of waiting: slots held": f"{self.most['running']}",
            "  tasks that wait without one": f"{self.most['deferred']}",
            "  the cluster was asked": asked_since(start),
            "  connections open": str(open_connections()),
        }
        for name in names:
            share = 100 * (cpu_seconds(name) - before[name]) / took
            figures[f"  {name.removeprefix('airflow-')}"] = f"{memory(name)}, {share:.0f} % of a core"
        return figures


def container(service: str) -> str:
    """Return the container of one of the copy's services."""
    labels = {"project": PROJECT, "service": service}
    filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
    found = docker("ps", "--quiet", *filters).split()
    if not found:
        sys.exit(f"{service} does not run")
    return found[0]


def docker(*words: str) -> str:
    """Run a command of docker; return what it says."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"docker {' '.join(words[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def control(change: str) -> None:
    """Open or close the partition."""
    docker("exec", container(CLUSTER), "scontrol", "update", f"partitionname={PARTITION}", change)


def stamp() -> str:
    """Return this moment as docker understands it."""
    return f"{time.time():.3f}"


def asked_since(moment: str) -> str:
    """Return how often the cluster's sshd let somebody in, and ran something for them."""
    log = docker("logs", f"--since={moment}", container(CLUSTER))
    return f"{len(re.findall(CONNECTIONS, log))} logins, {len(re.findall(COMMANDS, log))} commands"


def open_connections() -> int:
    """Return how many connections the cluster holds now."""
    # Each has a process of its own, named after the user, besides the one that keeps root's rights.
    lines = docker("exec", container(CLUSTER), "ps", "-eo", "args").split("\n")
    return sum(bool(re.match(r"sshd(-session)?: \S+@notty", line)) for line in lines)


def cpu_seconds(service: str) -> float:
    """Return the processor time that a service has taken so far, with either version of control groups."""
    text = docker("exec", container(service), "sh", "-c", CPU)
    match = re.search(r"usage_usec (\d+)", text)
    return int(match[1]) / 1e6 if match else int(text.split()[0]) / 1e9


def memory(service: str) -> str:
    """Return what a service takes now."""
    return docker("stats", "--no-stream", "--format={{.MemUsage}}", container(service)).split(" / ")[0]


def start(folder: Path) -> Stack:
    """Bring a copy of this clone up with the demo cluster beside it."""
    tree.copy_to(folder)
    (folder / ".env").write_text(f"COMPOSE_PROJECT_NAME={PROJECT}\nAIRFLOW_PORT={PORT}\n", encoding="utf-8")
    dags = folder / "dags" / "bench"
    dags.mkdir(parents=True)
    (dags / "bench_slurm_dag.py").write_text(DAGS, encoding="utf-8")
    address = f"http://127.0.0.1:{PORT}"
    stack = Stack("windrose", folder, ["make", "up"], ["make", "clean", "CONFIRM=yes"], address, "admin:")
    stack.run(stack.start)
    stack.run(["make", "demo"])
    return stack


def jobs_of_ours() -> str:
    """Return how many jobs of SlurmOperator the cluster ever had, by state."""
    words = ["sacct", "--allusers", "--allocations", "--noheader", "--parsable2", "--starttime=now-1days"]
    lines = docker("exec", container(CLUSTER), *words, "--format=State,JobName%100").split("\n")
    states = [line.split("|")[0].split()[0] for line in lines if "|wr." in line]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "none"


def main() -> None:
    """Measure one operator after the other on the same cluster, and print the figures below each other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            stack = start(folder)
            scenes = (("bench-slurm-operator", JOBS), ("bench-ssh-operator", PEERS), ("bench-ssh-remote-job", PEERS))
            for dag, tasks in scenes:
                figures = Scene(dag, tasks, stack).measure()
                if dag == "bench-slurm-operator":
                    figures["jobs in accounting"] = jobs_of_ours()
                print(f"{dag}, {tasks} tasks", flush=True)
                for what, value in figures.items():
                    print(f"  {what:40} {value}", flush=True)
        finally:
            subprocess.run(["make", "clean", "CONFIRM=yes"], cwd=folder, capture_output=True, check=False)


if __name__ == "__main__":
    main()
