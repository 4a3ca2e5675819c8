"""Every kind of server, in every way that Airflow logs in; and no secret anywhere but in its file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex

import pytest

from tests.engine_support import Done, Stack, run
from tests.platform_support import PlatformFile, Watcher, connections, lines_with, log_in, watched_processes, welcome
from tests.ssh_support import KeyMaker, Server, Servers, public
from tests.stack.test_secrets import read_container_logs, read_generated, read_inspect, read_rendered, read_task_logs

LATE = "3"  # seconds after which a slow server greets
NEVER = "3600"
SECRETS = (
    *("passphrase", "passphrase of a command", "password", "environment", "token", "secret key", "uri", "variable"),
    "kubeconfig",
)
# New ones each time: this file itself is in the clone that is searched.
PLANTED = {name: f"planted-{token_hex(8)}" for name in SECRETS}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "site",
    "contexts": [{"name": "site", "context": {"cluster": "site", "user": "robot"}}],
    "clusters": [{"name": "site", "cluster": {"server": "https://k8s.example.org"}}],
    "users": [{"name": "robot", "user": {"token": PLANTED["kubeconfig"]}}],
}
ENVIRONMENT = {"RESULTS_PASSWORD": PLANTED["environment"]}
LIVING = {
    "hpc-plain": "ssh-plain",
    "hpc-encrypted": "ssh-plain",
    "hpc-asked": "ssh-plain",
    "hpc-certified": "ssh-certified",
    "hpc-gate": "ssh-gate",
    "hpc-inner": "ssh-inner",
    "hpc-password": "ssh-password",
    "hpc-slow": "ssh-slow",
    "files-store": "ssh-plain",
}


@pytest.fixture(scope="module")
def fleet(servers: Servers, keys: KeyMaker) -> dict[str, Server]:
    """A server of each kind."""
    plain, authority = public(keys.make("fleet")), public(keys.make("authority"))
    encrypted = public(keys.make("fleet-encrypted", phrase=PLANTED["passphrase"]))
    asked = public(keys.make("fleet-asked", phrase=PLANTED["passphrase of a command"]))
    keys.sign(keys.make("fleet-certified"), keys.make("authority"), valid="-5m:+1h")
    keys.sign(keys.make("fleet-expired"), keys.make("authority"), valid="-2h:-1h")
    servers.start("ssh-plain", keys=(plain, encrypted, asked))
    servers.start("ssh-certified", authority=authority)
    gate = servers.start("ssh-gate", keys=(plain,))
    servers.start_behind(gate, "ssh-inner", keys=(plain,))
    servers.start("ssh-password", password=PLANTED["password"])
    servers.start("ssh-slow", "slow", LATE, keys=(plain,))
    servers.start("ssh-frozen", "slow", NEVER, keys=(plain,))
    servers.start("ssh-refusing", "nothing")
    return servers.running


def describe_machines(file: PlatformFile, fleet: dict[str, Server], keys: KeyMaker) -> None:
    """Write the SSH platforms and their keys."""
    manager = keys.folder / "manager-of-fleet.txt"
    manager.write_text(PLANTED["passphrase of a command"], encoding="utf-8")
    for name in ("fleet", "fleet-certified", "fleet-expired"):
        file.key(name, keys.make(name))
    file.key("fleet-encrypted", keys.make("fleet-encrypted"), phrase=PLANTED["passphrase"])
    file.key("fleet-asked", keys.make("fleet-asked"), phrase_command=f"cat {manager}")
    file.key("fleet-password", password=PLANTED["password"])
    slurm = {"scheduler": "slurm", "scratch": "/scratch"}
    file.server("plain", fleet["ssh-plain"], "fleet", **slurm)
    file.server("encrypted", fleet["ssh-plain"], "fleet-encrypted")
    file.server("asked", fleet["ssh-plain"], "fleet-asked")
    file.server("certified", fleet["ssh-certified"], "fleet-certified")
    file.server("expired", fleet["ssh-certified"], "fleet-expired")
    file.server("gate", fleet["ssh-gate"], "fleet")
    file.server("inner", fleet["ssh-inner"], "fleet", jump="hpc-gate")
    file.server("password", fleet["ssh-password"], "fleet-password")
    file.server("slow", fleet["ssh-slow"], "fleet")
    file.server("frozen", fleet["ssh-frozen"], "fleet")
    file.server("refusing", fleet["ssh-refusing"], "fleet")
    file.server("full", fleet["ssh-plain"], "fleet", scratch="/proc")
    file.platform("nowhere", "ssh-nowhere.invalid", "fleet")
    store = {**file.content["platforms"]["hpc"]["plain"], "type": "sftp", "id": "files-store"}
    file.content["platforms"]["files"] = {"store": {k: v for k, v in store.items() if k not in slurm}}


def describe_the_rest(file: PlatformFile, keys: KeyMaker) -> None:
    """Write a platform of each other kind that carries a secret, a raw connection and a variable."""
    kubeconfig = keys.folder / "kubeconfig.yaml"
    kubeconfig.write_text(json.dumps(KUBECONFIG), encoding="utf-8")
    kubeconfig.chmod(0o600)
    file.content["platforms"]["data"] = {
        "results": {"type": "postgres", "address": "db.example.org", "user": "me", "schema": "r", "key": "results"},
        "objects": {"type": "s3", "address": "https://s3.example.org", "region": "eu", "bucket": "b", "key": "objects"},
        "hub": {"type": "http", "address": "https://hub.example.org", "key": "hub"},
        "pods": {"type": "kubernetes", "namespace": "jobs", "key": "pods"},
    }
    file.content["connections"] |= {
        "postgres": {"results": {"password": "${RESULTS_PASSWORD}"}},
        "s3": {"objects": {"access_key": "AKIAEXAMPLE", "secret_key": PLANTED["secret key"]}},
        "http": {"hub": {"token": PLANTED["token"]}},
        "kubernetes": {"pods": {"file": str(kubeconfig)}},
    }
    file.content["raw"] = {"by-uri": f"http://me:{PLANTED['uri']}@api.example.org"}
    file.content["variables"] = {"api_token": PLANTED["variable"]}


@pytest.fixture(scope="module")
def watcher(fleet: dict[str, Server]) -> Iterator[Watcher]:
    """What the processes of this machine were called with, from when the servers and their keys were made."""
    with watched_processes() as watcher:
        yield watcher


@pytest.fixture(scope="module")
def registered(
    stack: Stack, watcher: Watcher, platforms: PlatformFile, fleet: dict[str, Server], keys: KeyMaker
) -> Done:
    """All of it, registered; a variable of the environment holds one secret."""
    describe_machines(platforms, fleet, keys)
    describe_the_rest(platforms, keys)
    platforms.save()
    done = stack.make("connections", env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def checking(stack: Stack, registered: Done) -> Iterator[Future[Done]]:
    """What `make check-platforms` is going to say of all of it: a silent server takes its time."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(stack.command, "check_platforms", JSON="yes", **ENVIRONMENT)


@pytest.fixture(scope="module")
def checked(checking: Future[Done]) -> Done:
    """What `make check-platforms` said of all of it."""
    return checking.result()


def test_every_kind_of_server_is_reached_in_every_way(stack: Stack, checking: Future[Done]) -> None:
    assert log_in(stack, *LIVING) == {name: welcome(server) for name, server in LIVING.items()}


def test_passphrase_and_key_are_all_that_a_server_with_keys_is_offered(
    stack: Stack, registered: Done, fleet: dict[str, Server]
) -> None:
    tried = {name: server.ways_tried() - {"none"} for name, server in fleet.items()}

    assert tried["ssh-password"] == {"password"}
    with_keys = ("ssh-plain", "ssh-certified", "ssh-gate", "ssh-inner", "ssh-slow")
    assert {name: tried[name] for name in with_keys} == dict.fromkeys(with_keys, {"publickey"})


def test_check_platforms_finds_what_is_wrong_with_each(checked: Done) -> None:
    found = json.loads(checked.stdout)["platforms"]

    failed = {
        name: {step: one["state"] for step, one in found[name]["steps"].items() if one["state"] not in ("ok", "-")}
        for name in found
        if name.startswith(("hpc-", "files-"))
    }
    assert (checked.returncode, {name: failed[name] for name in LIVING}) == (1, dict.fromkeys(LIVING, {}))
    assert {name: steps for name, steps in failed.items() if steps} == {
        "hpc-expired": {"login": "certificate-expired", "certificate": "certificate-expired"},
        "hpc-frozen": {"port": "timeout"},
        "hpc-full": {"scratch": "not-writable"},
        "hpc-nowhere": {"name": "name-not-found"},
        "hpc-refusing": {"port": "refused"},
    }
    assert [name for name in failed if bool(failed[name]) != bool(found[name]["problems"])] == []
    assert found["hpc-plain"]["steps"]["scheduler"] == {"state": "ok", "detail": "slurm 24.11.5"}


def test_check_of_one_platform_shows_it_alone(stack: Stack, registered: Done) -> None:
    sound = stack.command("check_platforms", PLATFORM="hpc-plain", **ENVIRONMENT)
    refusing = stack.command("check_platforms", PLATFORM="hpc-refusing", **ENVIRONMENT)

    header, row, *_ = sound.stdout.splitlines()
    assert (sound.returncode, header.split()[0], row.split()[0]) == (0, "PLATFORM", "hpc-plain")
    assert (refusing.returncode, len(lines_with(refusing.stdout, "hpc-refusing", "refused;"))) == (1, 1)


def test_page_shows_no_secret_of_a_connection(stack: Stack, registered: Done) -> None:
    shown = json.dumps(connections(stack)) + json.dumps(stack.api("GET", "variables"))

    assert [name for name, value in PLANTED.items() if value in shown] == []
    assert stack.api("GET", "connections/data-results")["password"] == "***"


def test_registered_secrets_are_the_real_ones(stack: Stack, registered: Done) -> None:
    done = stack.exec("airflow-dag-processor", "airflow", "connections", "get", "data-results", "--output=json")

    assert PLANTED["environment"] in done.stdout


def read_arguments(watcher: Watcher) -> str:
    """Return every argument list that was seen."""
    assert len(watcher.seen) > 50
    return b"\n".join(watcher.seen).decode("utf-8", "replace")


def read_environments(stack: Stack) -> str:
    """Return the environment of every process of the stack."""
    script = "cat /proc/[0-9]*/environ 2>/dev/null"
    running = [container["Id"] for container in stack.inspect() if container["State"]["Running"]]
    return "".join(run("docker", "exec", name, "sh", "-c", script, check=False).stdout for name in running)


def read_files_of_the_clone(folder: Path) -> str:
    """Return every file of the folder but secrets.yaml itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files if path.name != "secrets.yaml")


def test_planted_secrets_are_nowhere(
    stack: Stack, registered: Done, checked: Done, watcher: Watcher, fleet: dict[str, Server]
) -> None:
    up = stack.make("up", env=ENVIRONMENT)
    status = stack.make("status", env=ENVIRONMENT)

    places = {
        "output": "\n".join(stack.said),
        "docker inspect": read_inspect(stack),
        "container logs": read_container_logs(stack),
        "task logs": read_task_logs(stack),
        "generated files": read_generated(stack),
        "compose config": read_rendered(stack),
        "files of the clone": read_files_of_the_clone(stack.folder),
        "argument lists": read_arguments(watcher),
        "environments": read_environments(stack),
        "logs of servers": "".join(server.log() for server in fleet.values()),
    }
    found = [(place, name) for place, text in places.items() for name, value in PLANTED.items() if value in text]
    assert (up.returncode, found) == (0, []), status.stdout


def test_no_secret_is_left_where_tasks_run(stack: Stack, registered: Done) -> None:
    script = "cat /run/secrets/* /home/airflow/.ssh/* /opt/airflow/data/*; find /tmp -type f -exec cat {} +"
    printable = f"({script}) 2>/dev/null | tr -cd '\\11\\12\\40-\\176'"
    seen = stack.exec("airflow-scheduler", "sh", "-c", printable).stdout

    assert [name for name, value in PLANTED.items() if value in seen] == []
    assert "BEGIN OPENSSH PRIVATE KEY" in seen
