"""Many jobs on the demo cluster of a stack, and kills of everything that stands between them and their tasks."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.engine_support import Json, Stack, eventually, run

DAG_ID, ONE = "own-slurm", "own-slurm-one"
DAGS = '''"""Jobs on the demo cluster; the conf of a run says which."""

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from windrose.operators.slurm import SlurmOperator

SETTINGS = {"task_id": "job", "platform": "hpc-demo", "retry_delay": timedelta(seconds=2), "time": 10, "memory": "20M"}

with DAG("own-slurm", schedule=None, is_paused_upon_creation=False, max_active_tasks=200):

    @task
    def commands() -> list[str]:
        """Return what the jobs run."""
        return list(get_current_context()["dag_run"].conf["commands"])

    SlurmOperator.partial(**SETTINGS).expand(command=commands())

with DAG("own-slurm-one", schedule=None, is_paused_upon_creation=False):
    SlurmOperator(**SETTINGS, command="{{ dag_run.conf['command'] }}")
'''
ENDED = ("success", "failed", "upstream_failed")
ACCOUNTING = (
    "sacct",
    "--allusers",
    "--allocations",
    "--noheader",
    "--parsable2",
    "--duplicates",
    "--starttime=now-1days",
)


def add_dags(stack: Stack) -> None:
    """Give the stack the DAGs that submit jobs."""
    stack.write_dag("slurm_dag.py", DAGS)
    eventually(lambda: {DAG_ID, ONE} <= set(stack.dag_ids()), within=60)


def accounted(stack: Stack, what: str) -> dict[str, str]:
    """Return job id -> state of all jobs whose name has this in it, as accounting tells."""
    lines = stack.exec("slurm-demo", *ACCOUNTING, "--format=JobID,JobName,State").stdout.splitlines()
    rows = [line.split("|") for line in lines]
    return {job: state.split()[0] for job, name, state in rows if what in name}


def kill(stack: Stack, service: str) -> None:
    """Kill a service's program, as the kernel would; its container is started again."""
    container = stack.id(service)
    if stack.exec(service, "cat", "/proc/1/comm").stdout.strip() == "dumb-init":
        run("docker", "exec", container, "sh", "-c", "kill -KILL $(cat /proc/1/task/1/children)", check=False)
    else:
        run("docker", "kill", "--signal=KILL", container)
        run("docker", "start", container)  # of a kill from outside, the engine takes it that somebody wanted it


def cut_connections(stack: Stack) -> None:
    """End every SSH connection to the cluster at once."""
    stack.exec("slurm-demo", "pkill", "-KILL", "-f", "^sshd-session: researcher", check=False)


def kill_sshd(stack: Stack) -> None:
    """Kill sshd with all its connections, and start it again some seconds later."""
    stack.exec("slurm-demo", "cluster", "stop", "sshd", "KILL")
    cut_connections(stack)
    time.sleep(3)
    stack.exec("slurm-demo", "cluster", "start", "sshd")


@dataclass
class Jobs:
    """A run with a task a job."""

    stack: Stack
    codes: list[int]  # with which each job is to end
    seconds: int  # for which each of them runs
    path: str = ""
    began: float = 0.0
    told: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start them."""
        self.before = set(accounted(self.stack, f".{DAG_ID}-job."))
        commands = [f"echo begun; sleep {self.seconds}; echo last words {n}; exit {n}" for n in self.codes]
        self.path, self.began = self.stack.trigger(DAG_ID, commands=commands), time.monotonic()

    def tell(self, what: str) -> None:
        """Say what happens, and how it stands with the tasks."""
        states = Counter(str(row["state"]) for row in self.tasks())
        line = f"{time.monotonic() - self.began:6.1f} s  {what:<44} {dict(states)}"
        self.told.append(line)
        print(line, flush=True)

    def tasks(self) -> list[Json]:
        """Return what Airflow knows of each job's task."""
        try:
            found = self.stack.api("GET", f"{self.path}/taskInstances?limit=100&order_by=map_index")
        except (OSError, AssertionError):  # the api-server is among those that are killed
            return []
        return [row for row in found["task_instances"] if row["task_id"] == "job" and row["map_index"] >= 0]

    def jobs(self) -> dict[str, str]:
        """Return job id -> state of this run's jobs in accounting."""
        found = accounted(self.stack, f".{DAG_ID}-job.")
        return {job: state for job, state in found.items() if job not in self.before}

    def wait_for(self, *states: str, within: float) -> None:
        """Wait until all tasks are in one of these states."""
        eventually(
            lambda: len(rows := self.tasks()) == len(self.codes) and {row["state"] for row in rows} <= set(states),
            within=within,
            pause=1,
        )

    def strike_the_submits(self, cuts: int) -> None:
        """Cut connections while jobs are being submitted, then kill the scheduler, and with it every worker."""
        eventually(lambda: len(self.jobs()) > 0, within=90, pause=0.2)
        for _ in range(cuts):
            cut_connections(self.stack)
            self.tell("cut every connection")
            time.sleep(0.7)
        kill(self.stack, "airflow-scheduler")
        self.tell("killed the scheduler and its workers")

    def strike_the_rest(self, pause: float) -> None:
        """Kill everything else that jobs may depend on, one after the other."""
        for service in ("airflow-triggerer", "airflow-apiserver", "postgres"):
            kill(self.stack, service)
            self.tell(f"killed {service}")
            time.sleep(pause)
        kill_sshd(self.stack)
        self.tell("killed sshd and every connection")

    def truth(self) -> list[tuple[str, str, int]]:
        """Return of each task: its state, and how its job ended as the task tells it."""
        found = []
        for row in self.tasks():
            entry = f"{self.path}/taskInstances/job/xcomEntries/return_value?map_index={row['map_index']}"
            value: Any = self.stack.api("GET", entry)["value"]
            facts = value if isinstance(value, dict) else json.loads(value)
            found.append((str(row["state"]), str(facts["state"]), int(facts["exit_code"])))
        return found

    def expected(self) -> list[tuple[str, str, int]]:
        """Return what the truth is to be."""
        return [("failed", "FAILED", code) if code else ("success", "COMPLETED", 0) for code in self.codes]
