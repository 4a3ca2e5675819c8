"""A real Slurm cluster for tests: the demo's own image in a container of theirs, with keys, and with hands on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import images, settings
from tests.engine_support import eventually, free_port, run

USERS = ("researcher", "colleague")
ACCOUNT = "project_demo"
SCRATCH = "/scratch/project_demo"
HOST_KEY = "/cluster/ssh/ssh_host_ed25519_key.pub"
VOLUMES = {"cluster": "/cluster", "users": "/users", "scratch": "/scratch"}
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SYS_CHROOT", "SYS_PTRACE")
LOGINS = r"Accepted \S+ for (\S+) from"
COMMANDS = r"Starting session: (command|subsystem '\S+'|shell)"
# Ends that need cgroups or machines that boot, by the numbers and exit codes that Slurm's own accounting gives them.
OUT_OF_REACH = {"OUT_OF_MEMORY": (11, 125), "BOOT_FAIL": (9, 0)}
# What ends well when a daemon is back; of the others, that the controller answers.
PROVES = {daemon: ("sacct", "--noheader") for daemon in ("munged", "mariadbd", "slurmdbd")} | {
    "sshd": ("cluster", "ready")
}
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("TIMEOUT",),
}


@dataclass(frozen=True)
class Cluster:
    """A running cluster, and what a test does to it."""

    name: str
    port: int
    folder: Path  # its users' keys, and who may log in (login/)

    def exec(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a program in the container as root."""
        return run("docker", "exec", "--interactive", self.name, *argv, stdin=stdin, check=check).stdout

    def as_user(self, script: str, *, user: str = USERS[0], stdin: str | None = None) -> str:
        """Run a script in the login shell of a user, without SSH."""
        argv = ["setpriv", f"--reuid={user}", f"--regid={ACCOUNT}", "--init-groups", "--reset-env"]
        return self.exec(*argv, "bash", "-lc", f"cd && {script}", stdin=stdin)

    def key(self, user: str = USERS[0]) -> Path:
        """Return the file of a user's key."""
        return self.folder / user

    def host_key(self) -> str:
        """Return the type and the key by which the cluster is known."""
        return " ".join(self.exec("cat", HOST_KEY).split()[:2])

    def connection(self, user: str = USERS[0], **facts: object) -> dict[str, Any]:
        """Return the connection that `make connections` would register for it."""
        said = {"scheduler": "slurm", "account": ACCOUNT, "partition": "standard", "scratch": SCRATCH, **facts}
        extra = {"key_file": str(self.key(user)), "host_key": self.host_key(), "windrose": said}
        return {"conn_type": "ssh", "host": "127.0.0.1", "port": self.port, "login": user, "extra": extra}

    def connection_json(self, user: str = USERS[0], **facts: object) -> str:
        """Return the connection as Airflow reads it from AIRFLOW_CONN_...: JSON."""
        return json.dumps(self.connection(user, **facts))

    def log(self) -> str:
        """Return all that the daemons ever said."""
        done = run("docker", "logs", self.name)
        return done.stdout + done.stderr

    def logins(self) -> int:
        """Return how many connections were ever let in: as sshd counts them."""
        return len(re.findall(LOGINS, self.log()))

    def commands(self) -> int:
        """Return how many remote commands, shells and file transfers were ever begun."""
        return len(re.findall(COMMANDS, self.log()))

    def stop(self, daemon: str, signal: str = "TERM") -> None:
        """Stop a daemon (slurmctld, slurmdbd, slurmd-1, slurmd-2, sshd, ...) until it is started again."""
        self.exec("cluster", "stop", daemon, signal)

    def start(self, daemon: str) -> None:
        """Start a daemon that was stopped."""
        self.exec("cluster", "start", daemon)

    @contextmanager
    def stopped(self, daemon: str, signal: str = "TERM") -> Iterator[None]:
        """Let a daemon be gone meanwhile."""
        self.stop(daemon, signal)
        try:
            yield
        finally:
            self.start(daemon)
            self.wait_until_answers(*PROVES.get(daemon, ("squeue", "--noheader")))

    @contextmanager
    def frozen(self, daemon: str) -> Iterator[None]:
        """Let a daemon be there meanwhile, but not answer."""
        self.exec("cluster", "signal", daemon, "STOP")
        try:
            yield
        finally:
            self.exec("cluster", "signal", daemon, "CONT")

    def cut_connections(self, user: str = USERS[0]) -> None:
        """End every SSH connection of a user at once, as a login node that goes down does."""
        self.exec("pkill", "-KILL", "-f", f"^sshd-session: {user}", check=False)

    @contextmanager
    def drained(self, node: str = "demo-2") -> Iterator[None]:
        """Let a node take no new jobs meanwhile."""
        self.exec("scontrol", "update", f"nodename={node}", "state=drain", "reason=maintenance")
        try:
            yield
        finally:
            self.exec("scontrol", "update", f"nodename={node}", "state=resume")

    def jobs(self, *, name: str = "", user: str = USERS[0]) -> dict[str, str]:
        """Return job id -> state of every job in accounting, by name where one is given; array elements one by one."""
        chosen = [f"--name={name}"] if name else []
        words = [
            "sacct",
            "--allocations",
            "--noheader",
            "--parsable2",
            "--array",
            "--duplicates",
            "--starttime=now-1days",
        ]
        lines = self.exec(*words, f"--user={user}", "--format=JobID,State", *chosen).splitlines()
        return {job: state.split()[0] for job, state in (line.split("|") for line in lines)}

    def state(self, job_id: str) -> str:
        """Return the state of a job in accounting, '' where it has none yet."""
        words = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job_id}", "--format=State"]
        lines = self.exec(*words).split("\n")
        return lines[0].split()[0] if lines[0].strip() else ""

    def ends_as(self, job_id: str, *, within: float) -> str:
        """Wait for the end of a job in accounting and return its state."""
        eventually(lambda: self.state(job_id) in ENDED, within=within, pause=0.3)
        return self.state(job_id)

    def say_ended_as(self, job_id: str, state: str) -> None:
        """Let accounting say of an ended job what this cluster cannot do: OUT_OF_MEMORY or BOOT_FAIL."""
        number, code = OUT_OF_REACH[state]
        change = f"UPDATE demo_job_table SET state={number}, exit_code={code} WHERE id_job={int(job_id)}"
        self.exec("mariadb", "--no-defaults", "slurm_acct_db", f"--execute={change}")

    def cancel_all(self) -> None:
        """Cancel every job of every user."""
        for user in USERS:
            self.exec("scancel", f"--user={user}", check=False)

    def is_idle(self) -> bool:
        """Say whether no job is left in the queue but such as have ended, and every node takes jobs."""
        left = self.exec("squeue", "--noheader", "--states=PENDING,RUNNING,SUSPENDED,COMPLETING", "--format=%i")
        states = self.exec("sinfo", "--noheader", "--Node", "--format=%T").split()
        return not left.strip() and set(states) == {"idle"}

    def wait_until_idle(self, *, within: float = 60) -> None:
        """Wait until there is nothing to do."""
        eventually(self.is_idle, within=within, pause=0.3)

    def wait_until_ready(self, *, within: float = 60) -> None:
        """Wait until the cluster takes logins and jobs, and accounting answers."""
        self.wait_until_answers("cluster", "ready", within=within)
        self.wait_until_answers(*PROVES["slurmdbd"], within=within)

    def wait_until_answers(self, *argv: str, within: float = 60) -> None:
        """Wait until a program in the container ends well."""
        ask = ("docker", "exec", self.name, *argv)
        eventually(lambda: run(*ask, check=False).returncode == 0, within=within, pause=0.2)


@contextmanager
def running_cluster(name: str, folder: Path) -> Iterator[Cluster]:
    """Start a cluster of the tests' own on a loopback port, wait until it takes jobs, remove it in the end."""
    remove(name)
    cluster = Cluster(name, free_port(), folder)
    make_logins(folder)
    tag = images.ensure_slurm(settings.load())
    options = [f"--name={name}", "--hostname=slurm-demo", f"--publish=127.0.0.1:{cluster.port}:22", "--memory=2g"]
    options += [f"--volume={name}-{part}:{place}" for part, place in VOLUMES.items()]
    options += [f"--volume={folder / 'login'}:/etc/cluster/login:ro", "--cap-drop=ALL"]
    options += [f"--cap-add={capability}" for capability in CAPABILITIES]
    try:
        run("docker", "run", "--detach", *options, "--security-opt=no-new-privileges", tag)
        cluster.wait_until_ready()
        yield cluster
    finally:
        remove(name)


def make_logins(folder: Path) -> None:
    """Make a key for each user, which the cluster lets in, and an authority whose certificates it takes."""
    login = folder / "login"
    login.mkdir(parents=True, exist_ok=True)
    for name in (*USERS, "user_ca"):
        path = folder / name
        if not path.exists():
            write_key(path)
        (login / f"{name}.pub").write_text(path.with_name(f"{name}.pub").read_text(encoding="utf-8"), encoding="utf-8")


def write_key(path: Path) -> None:
    """Write a new key and its public half."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()))
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    path.with_name(f"{path.name}.pub").write_bytes(public + b"\n")


def remove(name: str) -> None:
    """Remove a cluster and its volumes, also what a killed run has left."""
    run("docker", "rm", "--force", name, check=False)
    run("docker", "volume", "rm", "--force", *(f"{name}-{part}" for part in VOLUMES), check=False)
