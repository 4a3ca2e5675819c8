"""The demo cluster itself: what it promises to those who try things on it, and to the tests."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.engine_support import eventually, run
from tests.slurm_support import ACCOUNT, SCRATCH, USERS, Cluster


def submit(slurm: Cluster, command: str, *options: str, user: str = USERS[0]) -> str:
    """Submit a job and return its id."""
    words = " ".join(["sbatch", "--parsable", f"--chdir={SCRATCH}", "--output=/dev/null", *options])
    return slurm.as_user(f"{words} --wrap '{command}'", user=user).strip()


def refusal(slurm: Cluster, *options: str) -> str:
    """Return what Slurm says to a job that it does not take."""
    with pytest.raises(subprocess.CalledProcessError) as raised:
        submit(slurm, "true", *options)
    return str(raised.value.stderr)


def test_both_users_have_the_account_and_each_partition_its_limit(slurm: Cluster) -> None:
    users = slurm.exec("sacctmgr", "-nP", "show", "assoc", f"account={ACCOUNT}", "format=user").split()
    partitions = slurm.exec("sinfo", "-h", "-o", "%P %a %l").splitlines()

    assert sorted(users) == sorted(USERS)
    assert partitions == ["standard* up 1-00:00:00", "debug up 5:00", "small up 1:00:00", "closed down 1:00:00"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--account=nobody"], "Invalid account"),
        (["--partition=nowhere"], "invalid partition specified"),
        (["--partition=debug", "--time=6"], "Requested time limit is invalid"),
        (["--qos=nothing"], "Invalid qos specification"),
        (["--nodes=3"], "Node count specification invalid"),
    ],
    ids=["account", "partition", "time", "qos", "nodes"],
)
def test_impossible_request_is_refused_with_a_sentence(slurm: Cluster, options: list[str], sentence: str) -> None:
    assert sentence in refusal(slurm, *options)


def test_login_takes_the_key_and_no_password(slurm: Cluster) -> None:
    argv = ["ssh", "-p", str(slurm.port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += ["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", f"{USERS[0]}@127.0.0.1"]
    logins, commands = slurm.logins(), slurm.commands()

    inside = run(*argv[:1], "-i", str(slurm.key()), *argv[1:], "pwd")
    outside = run(*argv[:1], "-o", "BatchMode=yes", "-i", "/dev/null", *argv[1:], "pwd", check=False)

    assert inside.stdout == "/users/researcher\n"
    assert "Permission denied (publickey)" in outside.stderr
    eventually(lambda: (slurm.logins() - logins, slurm.commands() - commands) == (1, 1), within=10)


def test_ends_are_told_apart_in_accounting(slurm: Cluster) -> None:
    ends = {submit(slurm, "true"): "COMPLETED", submit(slurm, "exit 3"): "FAILED"}
    late = submit(slurm, "true", "--partition=closed", "--deadline=now+2minutes", "--time=1")
    slurm.exec("scontrol", "update", f"jobid={late}", "deadline=now+1seconds")
    ends[late] = "DEADLINE"
    running = submit(slurm, "sleep 60")
    eventually(lambda: slurm.state(running) == "RUNNING", within=20)
    slurm.as_user(f"scancel {running}")
    ends[running] = "CANCELLED"

    assert {job: slurm.ends_as(job, within=60) for job in ends} == ends


def test_job_that_takes_more_memory_than_it_asked_for_is_killed_and_told_why(slurm: Cluster) -> None:
    greedy = "(head -c 200m /dev/zero; sleep 30) | tail -c 200m >/dev/null"

    job = submit(slurm, greedy, "--mem=50M", "--error=greedy.err")

    # The rest of Slurm would say OUT_OF_MEMORY; without cgroups it says FAILED, and why only to the job.
    assert slurm.ends_as(job, within=30) == "FAILED"
    assert "exceeded memory limit" in slurm.as_user(f"cat {SCRATCH}/greedy.err")
    step = slurm.exec("sacct", "-nP", f"--jobs={job}.batch", "--units=M", "--format=MaxRSS").strip()
    assert float(step.rstrip("M")) > 150
    slurm.say_ended_as(job, "OUT_OF_MEMORY")
    assert slurm.exec("sacct", "-nXP", f"--jobs={job}", "--format=State,ExitCode").strip() == "OUT_OF_MEMORY|0:125"


@pytest.mark.parametrize("option", ["--export=NONE", "--export=ALL,MORE=1", "--get-user-env"])
def test_job_may_ask_for_a_login_environment(slurm: Cluster, option: str) -> None:
    job = submit(slurm, "env > environment", option)

    assert slurm.ends_as(job, within=30) == "COMPLETED"
    assert f"HOME=/users/{USERS[0]}\n" in slurm.as_user(f"cat {SCRATCH}/environment")


def test_array_has_an_end_an_element_and_leaves_the_queue_soon(slurm: Cluster) -> None:
    job = submit(slurm, "exit $((SLURM_ARRAY_TASK_ID % 2))", "--array=1-4", "--job-name=sweep")

    def ends() -> dict[str, str]:
        return {name: state for name, state in slurm.jobs(name="sweep").items() if name.startswith(job)}

    wanted = {f"{job}_1": "FAILED", f"{job}_2": "COMPLETED", f"{job}_3": "FAILED", f"{job}_4": "COMPLETED"}
    eventually(lambda: ends() == wanted, within=30)
    # MinJobAge: from then on only accounting knows it.
    eventually(lambda: run_squeue(slurm, job) == "", within=60)


def run_squeue(slurm: Cluster, job: str) -> str:
    """Return what the queue knows of a job."""
    return slurm.exec("squeue", "--noheader", "--states=all", "--format=%i", f"--jobs={job}", check=False).strip()


def test_drained_node_takes_no_job_and_another_does(slurm: Cluster) -> None:
    with slurm.drained("demo-1"):
        there = submit(slurm, "true", "--nodelist=demo-1")
        elsewhere = submit(slurm, "true", "--nodelist=demo-2")

        assert slurm.ends_as(elsewhere, within=30) == "COMPLETED"
        assert slurm.state(there) == "PENDING"

    assert slurm.ends_as(there, within=30) == "COMPLETED"


def test_urgent_job_ends_a_standby_job_and_puts_another_back_into_the_queue(slurm: Cluster) -> None:
    one = submit(slurm, "sleep 60", "--qos=standby", "--nodelist=demo-1", "--cpus-per-task=24", "--mem=1G")
    two = submit(slurm, "sleep 60", "--qos=requeued", "--nodelist=demo-1", "--cpus-per-task=24", "--mem=1G")
    eventually(lambda: slurm.state(one) == slurm.state(two) == "RUNNING", within=20)

    urgent = submit(slurm, "true", "--qos=urgent", "--nodelist=demo-1", "--cpus-per-task=48", "--mem=1G")

    assert slurm.ends_as(one, within=30) == "PREEMPTED"
    assert slurm.ends_as(urgent, within=30) == "COMPLETED"
    eventually(lambda: slurm.exec("squeue", "-h", f"--jobs={two}", "-o", "%T").strip() != "", within=10)
    slurm.as_user(f"scancel {two}")


def test_controller_goes_on_without_accounting_and_tells_it_afterwards(slurm: Cluster) -> None:
    with slurm.stopped("slurmdbd"):
        job = submit(slurm, "true")
        queue = ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")
        eventually(lambda: slurm.exec(*queue).strip() == "COMPLETED", within=20)

    assert slurm.ends_as(job, within=60) == "COMPLETED"


def test_job_outlives_a_restarted_controller_and_a_killed_login_daemon(slurm: Cluster) -> None:
    job = submit(slurm, "sleep 15")
    eventually(lambda: slurm.state(job) == "RUNNING", within=20)

    with slurm.stopped("sshd", "KILL"), slurm.stopped("slurmctld"):
        pass

    assert slurm.ends_as(job, within=60) == "COMPLETED"


def test_frozen_controller_answers_again_when_it_is_let_go(slurm: Cluster) -> None:
    with slurm.frozen("slurmctld"):
        silent = run("docker", "exec", slurm.name, "timeout", "2", "squeue", check=False)

    assert silent.returncode == 124
    assert submit(slurm, "true").isdigit()


def test_stand_in_of_apptainer_says_what_it_is(slurm: Cluster) -> None:
    said = slurm.as_user("apptainer exec --bind /scratch:/scratch library/image.sif echo hello 2>&1")

    assert said.splitlines() == [
        "apptainer (stand-in): the demo cluster has no Apptainer; running without the container library/image.sif: "
        "echo hello",
        "hello",
    ]


def test_container_has_no_privilege_and_ends_when_a_daemon_dies_by_itself(slurm: Cluster, tmp_path: Path) -> None:
    from tests.slurm_support import running_cluster

    with running_cluster(f"{slurm.name}-2", tmp_path) as other:
        template = "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} {{.State.Status}}"
        assert run("docker", "inspect", f"--format={template}", other.name).stdout.strip() == "false [ALL] running"

        other.exec("cluster", "signal", "munged", "KILL")

        eventually(
            lambda: run("docker", "inspect", "--format={{.State.Status}}", other.name).stdout == "exited\n", within=10
        )
        assert "cluster: munged has ended" in other.log()


def test_cluster_is_idle_soon_after_all_is_cancelled(slurm: Cluster) -> None:
    submit(slurm, "sleep 600", "--array=1-20")
    time.sleep(1)

    slurm.cancel_all()

    slurm.wait_until_idle(within=30)
