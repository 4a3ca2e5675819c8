"""`make demo`: a Slurm cluster beside the stack, ready for the platform DAGs, gone without a trace when it is ended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator

import pytest

from tests.engine_support import Json, Stack, eventually, run
from tests.platform_support import PlatformFile, connections
from tests.slurm_support import CAPABILITIES

OURS = {"slurm-demo", "keys"}  # the one comes, the other sees a folder of keys more
IDS = ["cloud-cpouta-1", "hpc-demo"]
# Without a start it tells of the jobs since midnight alone.
ACCOUNTING = ("sacct", "--allusers", "--allocations", "--noheader", "--parsable2", "--starttime=now-1days")


def others(stack: Stack) -> dict[str, tuple[str, str]]:
    """Return the start of every container that the demo has nothing to do with."""
    return {name: start for name, start in stack.starts().items() if not any(f"-{ours}-" in name for ours in OURS)}


def kill_half_way(stack: Stack, after: float) -> None:
    """Start `make demo` and kill it with all it has started."""
    process = stack.begin("demo")
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    stack.said.append("".join(process.communicate()))


def demo_connections(stack: Stack) -> dict[str, Json]:
    """Return the connections that lead to the demo."""
    return {name: one for name, one in connections(stack).items() if one["host"] == "slurm-demo"}


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The stack with the demo beside it, whose start was killed twice."""
    before = others(stack)
    for seconds in (1.5, 4.0):
        kill_half_way(stack, seconds)
    done = stack.make("demo")
    assert (done.returncode, others(stack)) == (0, before), done.stdout + done.stderr
    yield stack
    stack.make("demo", "DOWN=yes")


def test_connections_carry_key_host_key_and_facts(demo: Stack) -> None:
    found = demo_connections(demo)

    assert sorted(found) == IDS
    for one in found.values():
        assert (one["login"], one["port"], one["extra"]["key_file"]) == ("researcher", 22, "/run/secrets/windrose-demo")
        assert one["extra"]["host_key"].startswith("ssh-ed25519 ")
        facts = {"scheduler": "slurm", "account": "project_demo", "partition": "standard"}
        assert one["extra"]["windrose"] == {**facts, "scratch": "/scratch/project_demo"}


def test_newcomers_first_dags_run_green_without_a_word(demo: Stack) -> None:
    runs = [demo.trigger("platform-check"), demo.trigger("tutorial-interaction")]

    assert [demo.result(path) for path in runs] == ["success", "success"]
    assert [row["platform"] for row in demo.returned(runs[0], "table")] == ["hpc-demo", "cloud-cpouta-1"]


def test_job_is_submitted_from_a_task_and_seen_in_accounting(demo: Stack) -> None:
    command = "cd /scratch/project_demo && sbatch --wait --wrap 'echo computed' --output=said && cat said"

    path = demo.trigger("platform-command", platform="hpc-demo", command=command)

    assert demo.result(path) == "success"
    assert "computed" in demo.log(path, "run_command")
    words = [*ACCOUNTING, "--format=User,Account,State"]
    eventually(lambda: "researcher|project_demo|COMPLETED" in demo.exec("slurm-demo", *words).stdout, within=20)


def test_again_changes_nothing(demo: Stack) -> None:
    before = demo.starts()

    again, up = demo.make("demo"), demo.make("up")

    assert (again.returncode, up.returncode, demo.starts()) == (0, 0, before)
    assert "everything is running and unchanged" in up.stderr


def test_container_has_no_privilege_no_port_and_no_way_out(demo: Stack) -> None:
    (container,) = demo.containers("slurm-demo")
    host = container["HostConfig"]

    assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (False, ["ALL"], ["no-new-privileges:true"])
    assert sorted(name.removeprefix("CAP_") for name in host["CapAdd"]) == sorted(CAPABILITIES)
    assert not host["PortBindings"] and host["Memory"] == host["MemorySwap"] > 0
    networks = container["NetworkSettings"]["Networks"]
    assert list(networks) == [f"{demo.project}_demo"]
    assert json.loads(run("docker", "network", "inspect", *networks).stdout)[0]["Internal"] is True


def test_only_services_that_run_tasks_and_triggers_reach_it(demo: Stack) -> None:
    def reaches(service: str) -> bool:
        return demo.exec(service, "getent", "hosts", "slurm-demo", check=False).returncode == 0

    reaching = [name for name in demo.services() if name.startswith("airflow-") and name != "airflow-init"]

    assert {name for name in reaching if reaches(name)} == {"airflow-scheduler", "airflow-triggerer"}


def test_keys_are_their_owners_alone_and_the_authority_is_nowhere_mounted(demo: Stack) -> None:
    folder = demo.folder / ".windrose" / "demo"

    for path in (folder / "keys" / "windrose-demo", folder / "authority" / "user_ca", folder / "platforms.yaml"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    mounted = [mount.get("Source", "") for container in demo.inspect() for mount in container["Mounts"]]
    assert str(folder / "keys") in mounted
    assert not [source for source in mounted if source == str(folder) or source.startswith(str(folder / "authority"))]


def test_service_that_was_made_anew_reaches_it_after_up(demo: Stack) -> None:
    run("docker", "rm", "--force", demo.id("airflow-triggerer"))

    demo.up()

    assert demo.exec("airflow-triggerer", "getent", "hosts", "slurm-demo").stdout.split()[1] == "slurm-demo"


def test_cluster_that_was_killed_is_back_with_its_jobs_in_accounting(demo: Stack) -> None:
    jobs = [*ACCOUNTING, "--format=JobID,State"]
    before = demo.exec("slurm-demo", *jobs).stdout
    assert "COMPLETED" in before

    demo.exec("slurm-demo", "cluster", "signal", "slurmctld", "KILL")

    eventually(lambda: demo.containers("slurm-demo")[0]["RestartCount"] == 1, within=30)
    eventually(lambda: demo.health("slurm-demo") == "healthy", within=60)
    assert demo.exec("slurm-demo", *jobs).stdout == before


def test_what_secrets_yaml_says_stays_and_the_demo_beside_it(demo: Stack, platforms: PlatformFile) -> None:
    platforms.platform("lumi", "lumi.example.org", "own")
    platforms.content["platforms"]["cloud"] = {
        "cpouta-1": {"address": "cloud.example.org", "user": "maija", "type": "ssh", "key": "own"}
    }
    platforms.key("own", demo.folder / ".windrose" / "demo" / "keys" / "windrose-demo")

    platforms.register()
    hosts = {name: one["host"] for name, one in connections(demo).items()}
    done = demo.make("demo")

    wanted = {"cloud-cpouta-1": "cloud.example.org", "hpc-demo": "slurm-demo", "hpc-lumi": "lumi.example.org"}
    assert hosts == wanted == {name: one["host"] for name, one in connections(demo).items()}
    assert "cloud-cpouta-1: secrets.yaml names it, so it stays as that says" in done.stdout
    platforms.path.unlink()
    gone = demo.make("demo")
    assert "secrets.yaml: is not there, but Airflow still holds what it described: hpc-lumi; put it back" in gone.stderr
    demo.api("DELETE", "connections/hpc-lumi")
    assert demo.make("demo").returncode == 0
    assert {name: one["host"] for name, one in connections(demo).items()} == dict.fromkeys(IDS, "slurm-demo")


def test_end_leaves_nothing_and_touches_nothing(demo: Stack) -> None:
    before = others(demo)

    done = demo.make("demo", "DOWN=yes")

    assert (done.returncode, others(demo)) == (0, before), done.stderr
    assert (demo_connections(demo), "slurm-demo" in demo.services()) == ({}, False)
    names = run("docker", "volume", "ls", "--format={{.Name}}", f"--filter=name={demo.project}_demo").stdout
    networks = run("docker", "network", "ls", "--format={{.Name}}", f"--filter=name={demo.project}_demo").stdout
    assert (names, networks) == ("", "")
    assert not (demo.folder / ".windrose" / "demo").exists()
    assert "there is no demo cluster here" in demo.make("demo", "DOWN=yes").stdout


def test_demo_that_is_refused_leaves_nothing(demo: Stack, platforms: PlatformFile) -> None:
    platforms.content = {"platforms": {"web": {"page": {"type": "http", "address": "https://example.org"}}}}
    platforms.register()
    platforms.path.unlink()

    done = demo.make("demo")

    assert "but Airflow still holds what it described: web-page" in done.stderr
    assert ("slurm-demo" in demo.services(), (demo.folder / ".windrose" / "demo").exists()) == (False, False)
    demo.api("DELETE", "connections/web-page")
