"""One token is one job, on a real cluster: whoever asks, how often, and whatever breaks in between."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
from windrose.hooks.slurm import SlurmHook
from windrose.slurm import remote
from windrose.slurm.model import Job, Refused, Submitted, Unsure
from windrose.slurm.refusals import refusal
from windrose.slurm.states import Kind

from tests.engine_support import eventually
from tests.hpc.slurm_jobs import look, new_job, on_cluster, submit, submitted, until_end
from tests.slurm_support import Cluster

CONNECTION = "AIRFLOW_CONN_HPC-DEMO"


@pytest.fixture(autouse=True)
def tidy(slurm: Cluster) -> Iterator[None]:
    yield
    slurm.cancel_all()


def count(slurm: Cluster, job: Job) -> int:
    """Return how many jobs of this name accounting knows."""
    return len(slurm.jobs(name=job.name))


def in_accounting(slurm: Cluster, job: Job) -> None:
    """Wait until accounting knows the job."""
    eventually(lambda: count(slurm, job) > 0, within=20)


def test_job_that_is_submitted_again_is_found(slurm: Cluster) -> None:
    job = new_job("sleep 30", time=2)

    answers = [submit(job) for _ in range(3)]

    ids = {answer.job_id for answer in answers}
    assert ([answer.fresh for answer in answers], len(ids)) == ([True, False, False], 1)
    in_accounting(slurm, job)
    assert count(slurm, job) == 1


def test_job_that_has_left_the_queue_is_found_without_its_id(slurm: Cluster) -> None:
    job = new_job("true", time=2)
    asked = submitted(job)
    until_end(asked)
    eventually(lambda: job.name not in slurm.exec("squeue", "-ht", "all", "-o", "%j"), within=40)
    slurm.exec("rm", f"{asked.folder}/id")

    again = submit(job)

    assert (again, count(slurm, job)) == (Submitted(asked.job_id, asked.folder, fresh=False), 1)


def test_of_many_that_submit_at_once_one_does(slurm: Cluster) -> None:
    job = new_job("sleep 30", time=2)

    async def all_at_once() -> list[object]:
        clusters = [SlurmHook("hpc-demo").cluster() for _ in range(4)]
        try:
            return list(await asyncio.gather(*(cluster.submit(job) for cluster in clusters)))
        finally:
            await asyncio.gather(*(cluster.close() for cluster in clusters))

    answers = asyncio.run(all_at_once())

    assert sum(isinstance(answer, Submitted) and answer.fresh for answer in answers) == 1
    assert all(isinstance(answer, Submitted | Unsure) for answer in answers)
    in_accounting(slurm, job)
    assert (count(slurm, job), isinstance(submit(job), Submitted)) == (1, True)


def test_submit_whose_connection_is_cut_is_one_job(slurm: Cluster) -> None:
    job = new_job("sleep 30", time=2)

    async def cut() -> None:
        cluster = SlurmHook("hpc-demo").cluster()
        await cluster.folder_of(job.token)  # type: ignore[attr-defined]
        work = asyncio.ensure_future(cluster.submit(job))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(slurm.cut_connections)
        await asyncio.gather(work, return_exceptions=True)
        await cluster.close()

    asyncio.run(cut())

    eventually(lambda: isinstance(submit(job), Submitted), within=30)
    in_accounting(slurm, job)
    assert count(slurm, job) == 1


def test_answer_of_a_controller_that_hangs_is_found_later(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SUBMIT_SECONDS", 4)
    job = new_job("sleep 30", time=2)

    with slurm.frozen("slurmctld"):
        lost = submit(job)
    found: list[object] = []
    eventually(lambda: isinstance(found.append(submit(job)) or found[-1], Submitted | Refused), within=60, pause=2)

    assert (isinstance(lost, Unsure), isinstance(found[-1], Submitted), count(slurm, job)) == (True, True, 1)


def test_controller_that_is_gone_is_no_refusal(slurm: Cluster) -> None:
    job = new_job("true", time=2)

    with slurm.stopped("slurmctld"):
        answer = submit(job)
    later = submit(job)

    assert (isinstance(answer, Unsure), isinstance(later, Submitted)) == (True, True)
    in_accounting(slurm, job)
    assert count(slurm, job) == 1


def test_accounting_that_is_down_leaves_the_end_to_the_jobs_own_record(slurm: Cluster) -> None:
    with slurm.stopped("slurmdbd"):
        asked = submitted(new_job("exit 4", time=2))
        eventually(lambda: look(asked).record is not None, within=20)
        eventually(lambda: look(asked).facts is None, within=40)
        seen = look(asked)

    verdict, _ = until_end(asked)
    assert (seen.accounting != "ok", seen.record and seen.record.code) == (True, 4)
    assert (verdict.kind, verdict.code) == (Kind.BADLY, 4)


def test_second_job_of_a_token_never_does_the_work(slurm: Cluster) -> None:
    job = new_job("echo ran >> ran", time=2)
    asked = submitted(job)
    until_end(asked)

    second = slurm.as_user(
        f"sbatch --parsable --output=/dev/null --error={asked.folder}/second {asked.folder}/job.sh"
    ).strip()

    assert slurm.ends_as(second, within=30) == "FAILED"
    assert slurm.as_user(f"cd {asked.folder}/work && cat ran") == "ran\n"


def test_cancelled_job_is_cancelled_in_accounting_and_twice_is_fine(slurm: Cluster) -> None:
    job = new_job("sleep 60", time=2)
    asked = submitted(job)

    ids = [on_cluster(lambda cluster: cluster.cancel(job.token)) for _ in range(2)]

    assert (slurm.ends_as(asked.job_id, within=30), ids) == ("CANCELLED", [asked.job_id, asked.job_id])
    assert on_cluster(lambda cluster: cluster.cancel("b" * 20, "1")) == "1"


def test_cancel_of_one_job_leaves_every_other(slurm: Cluster) -> None:
    asked, other = submitted(new_job("sleep 60", time=2)), submitted(new_job("sleep 60", time=2))

    on_cluster(lambda cluster: cluster.cancel(asked.token, other.job_id))
    eventually(lambda: slurm.state(asked.job_id) == "CANCELLED", within=30)

    queued = on_cluster(lambda cluster: cluster.queued())
    assert [(one.token, one.job_id, one.origin) for one in queued] == [(other.token, other.job_id, {"dag_id": "tests"})]
    assert 0 <= queued[0].seconds < 100


def test_thousand_questions_are_one_command(slurm: Cluster) -> None:
    asked = submitted(new_job("sleep 30", time=2))
    others = [
        type(asked)(f"{number:020}".translate(str.maketrans("0189", "abcd")), str(10**6 + number), "/scratch/x")
        for number in range(999)
    ]

    async def ask() -> None:
        cluster = SlurmHook("hpc-demo").cluster()
        for _ in range(3):
            assert len(await cluster.look([asked, *others])) == 1000
        await cluster.close()

    logins, commands = slurm.logins(), slurm.commands()
    asyncio.run(ask())

    eventually(lambda: (slurm.logins() - logins, slurm.commands() - commands) == (1, 3), within=10)


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        ({"account": "nobody"}, "check `account=`"),
        ({"partition": "nowhere"}, "check `partition=`"),
        ({"qos": "nothing"}, "check `qos=`"),
        ({"partition": "debug", "time": 60}, "check `time=`"),
        ({"nodes": 3}, "check `nodes=`"),
        ({"cpus": 5000}, "check `tasks=`"),
        ({"gres": "none:1"}, "check `gpus=`"),
        ({"dependency": "afterok:99999999"}, "check `dependency=`"),
        ({"reservation": "none"}, "check `reservation=`"),
        ({"constraint": "none"}, "check `constraint=`"),
        ({"licenses": "none:1"}, "check `licenses=`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_refusal_names_what_to_change(slurm: Cluster, words: dict[str, str], mend: str) -> None:
    job = new_job("true", **words)

    answer = submit(job)

    assert isinstance(answer, Refused)
    assert (mend in refusal(answer).says, refusal(answer).may_retry, count(slurm, job)) == (True, False, 0)


def test_job_whose_folder_cannot_be_written_is_refused(slurm: Cluster) -> None:
    job = new_job("true", time=2)
    slurm.exec("mkdir", "-p", "/scratch/full/.windrose")
    platform = SlurmHook("hpc-demo").platform

    async def ask() -> object:
        hook = SlurmHook("hpc-demo")
        hook.platform = type(platform)(platform.id, scratch="/scratch/full")
        cluster = hook.cluster()
        try:
            return await cluster.submit(job)
        finally:
            await cluster.close()

    answer = asyncio.run(ask())

    assert isinstance(answer, Refused)
    assert "Permission denied" in answer.says and "secrets.yaml" in refusal(answer).says


def test_two_members_of_a_project_share_its_scratch(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = submitted(new_job("true", time=2))
    monkeypatch.setenv(CONNECTION, slurm.connection_json("colleague"))
    theirs = submitted(new_job("true", time=2))

    assert until_end(theirs)[0].kind is Kind.WELL
    assert theirs.folder.rpartition("/")[0] == ours.folder.rpartition("/")[0]
    assert on_cluster(lambda cluster: cluster.tail(ours)) == ([], [])


def test_values_are_read_by_sbatch_as_they_were_written(slurm: Cluster) -> None:
    from windrose.slurm import directives

    values = ["a b", 'it\'s "so"', "back\\slash \\\\ #x", "$(id) `id` $HOME", "é\tü", "'", '"', "\\", "# ", " =a,b"]
    for value in values:
        lines = "\n".join(directives.lines({"comment": value}))
        script = f"#!/bin/sh\n#SBATCH --hold --time=1 --output=/dev/null\n{lines}\ntrue\n"
        job_id = slurm.as_user("sbatch --parsable", stdin=script).strip()
        assert slurm.exec("squeue", "-ho", "%k", f"--jobs={job_id}").removesuffix("\n") == value


def test_login_that_is_refused_needs_somebody(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from windrose.slurm.model import AccessError

    connection = slurm.connection()
    stranger = slurm.folder / "stranger"
    if not stranger.exists():
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    import json

    for change, says in (
        ({"key_file": str(stranger)}, "login was refused"),
        ({"host_key": stranger.with_suffix(".pub").read_text()}, "make trust"),
    ):
        extra = {**connection["extra"], **change}
        monkeypatch.setenv(CONNECTION, json.dumps({**connection, "extra": extra}))
        with pytest.raises(AccessError, match=says):
            on_cluster(lambda cluster: cluster.queued())
