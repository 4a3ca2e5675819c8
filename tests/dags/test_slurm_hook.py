"""The hook reads what a connection says of a platform; the cluster over SSH tells why nobody gets in, with the mend."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from airflow.sdk.exceptions import AirflowFailException
from windrose.hooks.slurm import SlurmHook
from windrose.slurm import ssh_cluster
from windrose.slurm.model import AccessError, Asked, ClusterError, Job, Platform, Submitted

from tests.login_node import PROGRAMS
from tests.ssh_site import Site, free_port, public

NAME = "hpc-site"
TOKEN = "a2" * 10


class ReadingSite(Site):
    """A site whose commands are given what is sent to them."""

    async def run_command(self, process: asyncssh.SSHServerProcess[str]) -> None:
        home = {**os.environ, "HOME": str(self.home)}
        started = await asyncio.create_subprocess_shell(process.command or "exit 1", stdin=-1, stdout=-1, env=home)
        output, _ = await started.communicate((await process.stdin.read()).encode())
        process.stdout.write(f"Welcome!\n{output.decode()}")
        process.exit(started.returncode or 0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    built = ReadingSite(tmp_path_factory.mktemp("site"))
    programs = built.home / "bin"
    programs.mkdir()
    (built.home / "fake").mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (built.home / ".bash_profile").write_text('PATH="$HOME/bin:$PATH"; export FAKE="$HOME/fake"; echo Welcome\n')
    yield built
    built.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without keys, agent and configuration of whoever runs this."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


Connect = Callable[..., SlurmHook]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIkHlnWtIvZWSTAOWHOhZ3Rw2dBBcGCWKhT7JxIPBFYZ"


@pytest.fixture
def connect(site: Site, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Register a connection and return its hook."""

    def register(
        *, port: int | None = None, conn_type: str = "ssh", facts: dict[str, Any] | None = None, **extra: Any
    ) -> SlurmHook:
        login = {
            "key_file": str(site.folder / "key"),
            "host_key": public(site.host_key),
            "windrose": facts or {},
            **extra,
        }
        connection = {"conn_type": conn_type, "host": "127.0.0.1", "port": port or site.ports["ssh"], "login": "maija"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", json.dumps({**connection, "extra": login}))
        return SlurmHook(NAME)

    return register


def ask(hook: SlurmHook, question: Callable[[Any], Awaitable[Any]]) -> Any:
    async def act() -> Any:
        cluster = hook.cluster()
        try:
            return await question(cluster)
        finally:
            await cluster.close()

    return asyncio.run(act())


def test_platform_is_what_the_connection_says(connect: Connect) -> None:
    facts = {
        "account": "p1",
        "partition": "small",
        "scratch": "/s",
        "preamble": "x",
        "environment": {"A": 1},
        "tags": ["t"],
    }

    assert connect(facts=facts).platform == Platform(NAME, "ssh", "p1", "small", "/s", "x", {"A": "1"}, 8)
    assert connect().platform == Platform(NAME)
    assert connect(conn_type="firecrest").platform.transport == "firecrest"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"conn_type": "aws"}, "is of type aws and takes no Slurm jobs"),
        ({"facts": {"scheduler": "pbs"}}, "has the batch system pbs"),
        ({"facts": {"transport": "pigeon"}}, "has the transport pigeon"),
    ],
)
def test_platform_that_takes_no_jobs_is_told(connect: Connect, words: dict[str, Any], says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        _ = connect(**words).platform


@pytest.mark.parametrize(
    ("name", "says"), [("hpc-nowhere", "there is no platform hpc-nowhere"), ("", "no platform is named")]
)
def test_platform_that_is_not_there_is_told(name: str, says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        _ = SlurmHook(name).platform


def test_people_submit_look_and_cancel_without_an_event_loop(connect: Connect) -> None:
    hook = connect()
    job = Job(TOKEN, f"wr.a.{TOKEN}", f"#!/bin/bash\n#SBATCH --job-name=wr.a.{TOKEN}\ntrue\n", origin={"dag_id": "é"})

    found = hook.submit(job)
    assert isinstance(found, Submitted)
    seen = hook.look([Asked(TOKEN, found.job_id, found.folder)])[TOKEN]

    assert (seen.facts and seen.facts.state, hook.submit(job)) == (
        "PENDING",
        Submitted(found.job_id, found.folder, fresh=False),
    )
    assert [one.origin for one in ask(hook, lambda cluster: cluster.queued())] == [{"dag_id": "é"}]
    assert hook.cancel(TOKEN) == found.job_id


def test_at_most_four_programs_run_at_a_time_on_one_connection(connect: Connect, site: Site) -> None:
    running, most, before = 0, 0, site.logins
    talk = ssh_cluster.talk

    async def counted(connection: Any, call: Any) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await talk(connection, call)
        finally:
            running -= 1

    async def many(cluster: Any) -> int:
        await asyncio.gather(*(cluster.queued() for _ in range(12)))
        return site.logins - before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssh_cluster, "talk", counted)
        assert (ask(connect(), many), most) == (1, 4)


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (
            {"host_key": OTHER_KEY},
            AccessError,
            "make trust",
        ),
        ({"key_file": "stranger"}, AccessError, "the login was refused; run `make check-platforms PLATFORM=hpc-site`"),
        ({"key_file": "expired"}, AccessError, "the certificate ended at .* sign a new one"),
        ({"key_file": "/nowhere/key"}, AccessError, "its key cannot be read"),
        ({"port": "free"}, ClusterError, "no connection"),
        ({"port": "silent"}, ClusterError, "no answer to a login within 1 seconds"),
        ({"port": "web"}, ClusterError, "no connection"),
    ],
)
def test_login_that_fails_is_told_with_its_mend(
    connect: Connect,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    words: dict[str, Any],
    kind: type,
    says: str,
) -> None:
    monkeypatch.setattr(ssh_cluster, "CONNECT_SECONDS", 1.0 if words.get("port") == "silent" else 20.0)
    if words.get("key_file") == "stranger":
        site.new_key("stranger")
        words = {"key_file": str(site.folder / "stranger")}
    if words.get("key_file") == "expired":
        words = {"key_file": site.new_certificate("expired", after=time.time() - 9000, before=time.time() - 5000)}
    if "port" in words:
        words = {"port": free_port() if words["port"] == "free" else site.ports[words["port"]]}

    with pytest.raises(kind, match=says) as raised:
        ask(connect(**words), lambda cluster: cluster.queued())

    assert str(raised.value).startswith(f"{NAME}: ") and str(raised.value).endswith(".")
    assert (type(raised.value), "\n" in str(raised.value)) == (kind, False)


def test_renewed_certificate_is_taken_up_by_the_next_login(connect: Connect, site: Site) -> None:
    key_file = site.new_certificate("renewed", after=time.time() - 9000, before=time.time() - 5000)
    hook = connect(key_file=key_file)

    async def renew(cluster: Any) -> list[Any]:
        with pytest.raises(AccessError):
            await cluster.queued()
        site.new_certificate("renewed", after=time.time() - 9000, before=time.time() + 5000)
        found: list[Any] = await cluster.queued()
        return found

    assert ask(hook, renew) == []


def test_program_that_hangs_is_an_error_and_the_next_call_connects_anew(connect: Connect, site: Site) -> None:
    from windrose.slurm import remote

    async def hang(cluster: Any) -> list[Any]:
        with pytest.raises(ClusterError, match="no answer within 1 seconds"):
            await cluster.run(remote.call("hang", "sleep 5", seconds=1))
        found: list[Any] = await cluster.queued()
        return found

    assert ask(connect(), hang) == []
