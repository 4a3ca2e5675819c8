"""The hook that knows a platform with Slurm: what its connection says, and the cluster that it leads to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from windrose.slurm.model import Asked, Cluster, Job, Platform, Refused, Seen, Submitted, Unsure

SCHEDULER = "slurm"
Answer = TypeVar("Answer")
TRANSPORTS = ("ssh", "firecrest")  # and the types of connection that lead to a cluster


class SlurmHook(BaseHook):
    """Slurm on a platform of secrets.yaml, over SSH or FirecREST.

    :param platform: id of the platform
    """

    conn_name_attr = "platform"
    hook_name = "Slurm"

    def __init__(self, platform: str) -> None:
        super().__init__()
        self.platform_id = platform

    @cached_property
    def connection(self) -> Connection:
        """Return the platform's connection."""
        if not self.platform_id:
            raise AirflowFailException("no platform is named; write the id of one of secrets.yaml, such as hpc-lumi.")
        try:
            return self.get_connection(self.platform_id)
        except AirflowNotFoundException:
            if os.environ.get("FIRECREST_URL"):
                # The task's own environment says where FirecREST is; the name is the machine's, in the API.
                return Connection(conn_id=self.platform_id, conn_type="firecrest")
            mend = "see secrets.yaml and `make connections`"
            raise AirflowFailException(f"there is no platform {self.platform_id}; {mend}.") from None

    @cached_property
    def platform(self) -> Platform:
        """Return what the connection says of the platform; raise with a sentence where it takes no jobs."""
        kind = self.connection.conn_type or ""
        if kind not in TRANSPORTS:
            problem = f"{self.platform_id} is of type {kind or 'none'} and takes no Slurm jobs"
            raise AirflowFailException(f"{problem}; name one of type ssh or firecrest.")
        return platform_of(self.platform_id, kind, self.connection.extra_dejson.get("windrose") or {})

    def cluster(self) -> Cluster:
        """Return the cluster; it connects when it is first asked something."""
        if self.platform.transport == "firecrest":
            from windrose.slurm.firecrest_cluster import FirecrestCluster

            return FirecrestCluster(self.platform, self.connection)
        from windrose.slurm.ssh_cluster import SshCluster

        key_file = self.connection.extra_dejson.get("key_file") or ""
        return SshCluster(self.platform, lambda: connect(self.platform_id), key_file=key_file)

    def get_conn(self) -> Cluster:
        """Return the cluster, under the name that hooks have for it."""
        return self.cluster()

    def submit(self, job: Job) -> Submitted | Refused | Unsure:
        """Submit the job of this token, or find the one that was submitted."""
        return self._ask(lambda cluster: cluster.submit(job))

    def cancel(self, token: str, job_id: str = "") -> str:
        """Cancel a job; return its id."""
        return self._ask(lambda cluster: cluster.cancel(token, job_id))

    def look(self, asked: Sequence[Asked]) -> dict[str, Seen]:
        """Look at jobs; return what was seen of each, by token."""
        return self._ask(lambda cluster: cluster.look(asked))

    def _ask(self, question: Callable[[Cluster], Coroutine[Any, Any, Answer]]) -> Answer:
        async def ask() -> Answer:
            cluster = self.cluster()
            try:
                return await question(cluster)
            finally:
                await cluster.close()

        return asyncio.run(ask())


async def connect(platform: str) -> Any:  # noqa: ANN401 - asyncssh's connection
    """Return a new connection to a platform, with whatever its connection in Airflow says by now."""
    from airflow.providers.ssh.hooks.ssh import SSHHookAsync

    return await SSHHookAsync(ssh_conn_id=platform, keepalive_interval=15).get_conn()  # type: ignore[no-untyped-call]


def platform_of(name: str, kind: str, says: Any) -> Platform:  # noqa: ANN401 - JSON
    """Return a platform from what its connection's extra says of it; what it does not say has a default."""
    says = says if isinstance(says, dict) else {}
    if str(says.get("scheduler") or SCHEDULER) != SCHEDULER:
        raise AirflowFailException(f"{name} has the batch system {says['scheduler']}; Windrose submits to Slurm only.")
    # A machine that is known by its SSH address may take jobs over FirecREST; one that is known by its API, only so.
    transport = "firecrest" if kind == "firecrest" else str(says.get("transport") or "ssh")
    if transport not in TRANSPORTS:
        raise AirflowFailException(f"{name} has the transport {transport}; write ssh or firecrest in secrets.yaml.")

    def text(word: str) -> str:
        return str(says.get(word) or "")

    environment = says.get("environment")
    variables = {str(key): str(value) for key, value in environment.items()} if isinstance(environment, dict) else {}
    slots = says.get("slots")
    known = Platform(
        id=name,
        transport=transport,
        account=text("account"),
        partition=text("partition"),
        scratch=text("scratch"),
        preamble=text("preamble"),
        environment=variables,
    )
    return replace(known, slots=slots) if isinstance(slots, int) and slots >= 1 else known
