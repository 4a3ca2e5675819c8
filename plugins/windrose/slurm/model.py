"""What the parts tell each other: a job to submit, a job to look at, what was seen of it, and a cluster to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

NAME_PREFIX = "wr."  # every job of ours is called wr.<words>.<token>
FOLDER = ".windrose"  # below the platform's scratch, a folder a job, named by its token
KEPT_LINES = 200  # of each stream, told at the end


class ClusterError(Exception):
    """A cluster that cannot be asked now, told in a sentence without a secret; to be asked again."""


class AccessError(ClusterError):
    """A cluster that does not let us in until somebody does something: a certificate, a token, a host key."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What secrets.yaml says of a cluster; read from its connection."""

    id: str
    transport: str = "ssh"  # or firecrest
    account: str = ""
    partition: str = ""
    scratch: str = ""  # '' is the login's home
    preamble: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    slots: int = 8


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be submitted, under a token that no other job has."""

    token: str  # 20 of a-z and 2-7, random
    name: str  # the job's name on the cluster; ends with the token
    script: str  # whole batch script, as sbatch takes it; {folder} in it is the job's folder there
    payload: str = ""  # the person's own script, stored beside it as `script`
    origin: Mapping[str, Any] = field(default_factory=dict)  # installation, dag_id, run_id, task_id, map_index


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the cluster has."""

    job_id: str
    folder: str  # its folder on the cluster, a whole path
    fresh: bool  # whether this call submitted it, or found it


@dataclass(frozen=True, slots=True)
class Refused:
    """A submit that the cluster turned down: there is no job."""

    says: str  # Slurm's own sentence


@dataclass(frozen=True, slots=True)
class Unsure:
    """A submit of which nobody knows yet whether there is a job: to be asked again, with the same token."""

    says: str
    seconds: float


@dataclass(slots=True)
class Asked:
    """A job to look at, and how much of its output is known; None: begin near its present end."""

    token: str
    job_id: str
    folder: str
    array: bool = False
    out: int | None = 0  # -1: nothing more is wanted
    err: int | None = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What the job's own script wrote as it ended: for an array, of the element that ended worst."""

    code: int
    elements: int = 1  # how many have written one
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What Slurm says of a job, in its own words; '' and 0 where it did not say."""

    state: str = ""  # such as PENDING or OUT_OF_MEMORY: the first word, without `by 1000`
    reason: str = ""  # why it waits, or was ended
    by: str = ""  # who cancelled it, as a login name or uid
    code: int = 0
    signal: int = 0
    seconds: int = 0
    nodes: str = ""
    cpu_seconds: float = 0.0
    memory: int = 0  # bytes, the most that any of its steps took
    source: str = ""  # queue or accounting
    elements: Mapping[str, int] = field(default_factory=dict)  # of an array: how many in which state
    limit: int = 0  # seconds that it may run


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw of one job."""

    facts: Facts | None = None  # None: neither the queue nor accounting knows it
    record: Record | None = None
    accounting: str = "ok"  # or why it could not be asked, in a few words
    out: bytes = b""  # new output, at most 64 KB
    err: bytes = b""
    out_at: int = 0  # where its end lies in the file
    err_at: int = 0
    more: bool = False  # whether there is more to fetch already


@dataclass(frozen=True, slots=True)
class Queued:
    """A job of ours that stands in the queue, whoever asked for it."""

    token: str
    job_id: str
    state: str
    origin: Mapping[str, Any]
    seconds: int = -1  # since it was submitted, by the cluster's own clock; -1 is not known


class Cluster(Protocol):
    """A cluster over some transport. Every method raises ClusterError or AccessError and nothing else."""

    async def submit(self, job: Job) -> Submitted | Refused | Unsure:
        """Submit the job of this token, or find the one that was submitted."""

    async def folder_of(self, token: str) -> str:
        """Return the whole path of a job's folder, whether or not it is there yet."""

    async def look(self, asked: Sequence[Asked]) -> dict[str, Seen]:
        """Look at many jobs at once; return what was seen of each, by token."""

    async def tail(self, asked: Asked) -> tuple[list[str], list[str]]:
        """Return the last lines of a job's output and of its errors; of an array, of the element that ended worst."""

    async def cancel(self, token: str, job_id: str = "") -> str:
        """Cancel a job, by its name where its id is not known; return its id. Twice is fine, and so is an ended one."""

    async def queued(self) -> list[Queued]:
        """Return every job of ours in the queue of this login."""

    async def close(self) -> None:
        """Let go of every connection."""
