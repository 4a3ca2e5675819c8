"""Does a job go to a cluster behind FirecREST exactly once, and is it seen there? Over a stand-in for Slurm."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from windrose.slurm import firecrest_cluster
from windrose.slurm.model import AccessError, Asked, ClusterError, Record, Refused, Submitted, Unsure

from tests.dags.firecrest_site import a_job, cluster_of, local_site, looked, submitted, until_ended, with_cluster
from tests.firecrest_state import Fault


@pytest.fixture
def place(tmp_path):
    with local_site(tmp_path / "slurm") as found:
        yield found


@pytest.fixture
def site(place):
    return place[0]


@pytest.fixture
def slurm(place):
    return place[1]


def make_old(site, job, seconds=200.0):
    """Let the first try of a job have begun so long ago."""
    path = Path(site.scratch, ".windrose", job.token, "attempt.1")
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_job_is_submitted_once_and_found_by_every_later_try(site, slurm):
    job = a_job("echo out; echo err >&2; pwd")

    first = submitted(site, job)
    second = submitted(site, job)
    seen = until_ended(site, job, first)

    assert (first.fresh, second.fresh, first.job_id == second.job_id) == (True, False, True)
    assert len(slurm.jobs()) == 1
    assert (seen.facts.state, seen.facts.code, seen.record) == ("COMPLETED", 0, Record(0, 1, 0))
    assert (seen.out, seen.err) == (f"out\n{first.folder}/work\n".encode(), b"err\n")
    assert seen.out_at == len(seen.out)


def test_folder_of_jobs_is_closed_to_others_and_holds_what_was_submitted(site):
    job = a_job("echo $1")

    found = submitted(site, job)
    folder = Path(found.folder)

    # Of a project's scratch, others of its group use the folder above, too.
    assert [place.stat().st_mode & 0o7777 for place in (folder, folder.parent)] == [0o700, 0o1770]
    assert (folder / "script").read_text() == job.payload
    assert json.loads((folder / "origin.json").read_text()) == dict(job.origin)
    assert (folder / "job.sh").read_text() == job.script.replace("{folder}", found.folder)
    assert (folder / "id").read_text() == f"{found.job_id}\n"


@pytest.mark.parametrize("cut", ["after", "before"])
def test_lost_answer_of_the_submit_ends_in_one_job(site, slurm, cut):
    job = a_job()
    site.state.faults.append(Fault("POST /compute", cut=cut))

    first = with_cluster(site, lambda cluster: cluster.submit(job))
    second = with_cluster(site, lambda cluster: cluster.submit(job))
    make_old(site, job)
    third = submitted(site, job)

    assert isinstance(first, Unsure)
    assert isinstance(second, Submitted if cut == "after" else Unsure)
    assert third.fresh == (cut == "before")
    assert slurm.jobs() == [third.job_id]


def test_try_that_was_killed_after_sbatch_is_found_by_the_jobs_name(site, slurm):
    job = a_job("sleep 5")
    found = submitted(site, job)
    Path(found.folder, "id").unlink()

    again = submitted(site, job)

    assert (again.job_id, again.fresh, len(slurm.jobs())) == (found.job_id, False, 1)
    assert Path(found.folder, "id").read_text() == f"{found.job_id}\n"


def test_half_written_id_counts_as_none(site, slurm):
    job = a_job("sleep 5")
    found = submitted(site, job)
    Path(found.folder, "id").write_text(found.job_id[:1])

    assert submitted(site, job).job_id == found.job_id


def test_two_tries_at_the_same_time_submit_one_job(site, slurm):
    job = a_job("sleep 5")

    async def both():
        clusters = [cluster_of(site) for _ in range(4)]
        found = await asyncio.gather(*(cluster.submit(job) for cluster in clusters))
        for cluster in clusters:
            await cluster.close()
        return found

    found = asyncio.run(both())

    assert len(slurm.jobs()) == 1
    assert {each.job_id for each in found if isinstance(each, Submitted)} == set(slurm.jobs())
    assert all(isinstance(each, Submitted | Unsure) for each in found)


def test_inputs_that_are_there_before_the_submit_do_not_look_like_a_claim(site, slurm):
    job = a_job()
    Path(site.scratch, ".windrose", job.token, "work").mkdir(parents=True)

    assert submitted(site, job).fresh


def test_refusal_is_told_in_slurms_words_and_the_next_try_need_not_wait(site, slurm):
    job = a_job(directives="#SBATCH --account=nobody")

    first = with_cluster(site, lambda cluster: cluster.submit(job))
    good = replace(job, script=job.script.replace("nobody", "somebody"))
    second = submitted(site, good)

    says = "Batch job submission failed: Invalid account or account/partition combination specified"
    assert first == Refused(says)
    assert second.fresh


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Unsure),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", Unsure),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds)", Refused),
        ("sbatch: fatal: Unable to open file job.sh", Refused),
    ],
)
def test_only_what_surely_left_no_job_is_a_refusal(site, says, kind):
    body = {"message": f"Unexpected Slurm command response. exit_status:1 std_err:{says}\n"}
    site.state.faults.append(Fault("POST /compute", status=500, body=body))

    assert isinstance(with_cluster(site, lambda cluster: cluster.submit(a_job())), kind)


def test_quota_is_a_refusal_although_it_comes_as_403(site):
    says = "Job submission rejected: accounting/QOS policy limit exceeded. sbatch: error: QOSMaxSubmitJobPerUserLimit"
    site.state.faults.append(Fault("POST /compute", status=403, body={"message": says}))

    found = with_cluster(site, lambda cluster: cluster.submit(a_job()))

    assert isinstance(found, Refused)
    assert "QOSMaxSubmitJobPerUserLimit" in found.says


def test_cancelled_job_is_not_submitted_any_more(site, slurm):
    job = a_job()
    with_cluster(site, lambda cluster: cluster.cancel(job.token))

    with_cluster(site, lambda cluster: cluster.files.make(cluster.platform.scratch + "/.windrose"))
    with_cluster(site, lambda cluster: cluster.cancel(job.token))
    found = with_cluster(site, lambda cluster: cluster.submit(job))

    assert found == Refused("the job was cancelled before it was submitted")
    assert slurm.jobs() == []


def test_cancelling_twice_an_ended_job_and_one_of_no_known_id_is_fine(site, slurm):
    running, over = a_job("sleep 60"), a_job("true")
    first, second = submitted(site, running), submitted(site, over)
    until_ended(site, over, second)

    async def cancel(cluster):
        return [
            await cluster.cancel(running.token),
            await cluster.cancel(running.token, first.job_id),
            await cluster.cancel(over.token, second.job_id),
        ]

    assert with_cluster(site, cancel) == [first.job_id, first.job_id, second.job_id]
    seen = looked(site, running, first)
    assert (seen.facts.state, seen.facts.by) == ("CANCELLED", "1000")
    assert (slurm.folder / "jobs" / second.job_id / "state").read_text() == "COMPLETED\n"


def test_cancel_reaches_the_job_although_no_file_can_be_written(site):
    job = a_job("sleep 60")
    found = submitted(site, job)
    site.state.faults.append(Fault("ops/", status=503, times=9))

    with_cluster(site, lambda cluster: cluster.cancel(job.token, found.job_id))

    site.state.faults.clear()
    assert looked(site, job, found).facts.state == "CANCELLED"


def test_id_of_somebody_elses_job_is_not_cancelled(site, slurm):
    job = a_job("sleep 60")
    found = submitted(site, job)
    (slurm.folder / "jobs" / found.job_id / "name").write_text("another\n")

    with_cluster(site, lambda cluster: cluster.cancel(job.token, found.job_id))

    assert (slurm.folder / "jobs" / found.job_id / "state").read_text() == "RUNNING\n"


def test_queue_tells_whose_our_jobs_are_and_nothing_of_others(site, slurm):
    job = a_job("sleep 30")
    found = submitted(site, job)
    submitted(site, a_job("true"))
    other = slurm.folder / "jobs" / "900"
    other.mkdir()
    for name, text in {"name": "somebody's", "state": "RUNNING"}.items():
        (other / name).write_text(text + "\n")
    end = time.monotonic() + 10
    while len(queued := with_cluster(site, lambda cluster: cluster.queued())) > 1 and time.monotonic() < end:
        time.sleep(0.1)

    assert [(each.token, each.job_id, each.state, each.origin) for each in queued] == [
        (job.token, found.job_id, "RUNNING", dict(job.origin))
    ]


def test_failure_is_seen_with_its_code_and_its_last_lines(site):
    job = a_job("for i in $(seq 300); do echo line $i; done; echo why >&2; exit 7")
    found = submitted(site, job)
    seen = until_ended(site, job, found)

    out, err = with_cluster(site, lambda cluster: cluster.tail(Asked(job.token, found.job_id, found.folder)))

    assert (seen.facts.state, seen.facts.code, seen.record) == ("FAILED", 7, Record(7, 1, 1))
    assert (len(out), out[0], out[-1], err) == (200, "line 101", "line 300", ["why"])


def test_many_jobs_are_looked_at_with_one_listing_and_four_requests_at_a_time(site, slurm, monkeypatch):
    jobs = [a_job("sleep 60") for _ in range(8)]
    found = [submitted(site, job) for job in jobs]
    monkeypatch.setattr(firecrest_cluster, "TURN", 5)
    site.state.requests.clear()
    site.state.busiest = 0

    asked = [Asked(job.token, one.job_id, one.folder) for job, one in zip(jobs, found, strict=True)]
    seen = with_cluster(site, lambda cluster: cluster.look(asked))

    assert {each.facts.state for each in seen.values()} == {"RUNNING"}
    assert len(seen) == 8
    assert site.state.count("GET /compute/demo/jobs$") == 1
    assert site.state.count("ops/ls") == 5
    assert site.state.busiest <= 4
    for job, one in zip(jobs, found, strict=True):
        with_cluster(site, lambda cluster, job=job, one=one: cluster.cancel(job.token, one.job_id))


def test_waiting_job_costs_no_request_of_its_own(site, slurm):
    job = a_job("sleep 60")
    found = submitted(site, job)
    slurm.set_state(found.job_id, "PENDING")
    site.state.requests.clear()

    seen = looked(site, job, found)

    assert seen.facts.state == "PENDING"
    assert site.state.requests == ["POST /token", "GET /compute/demo/jobs"]


def test_slurm_that_cannot_be_asked_leaves_the_record_to_tell(site, slurm):
    job = a_job("exit 3")
    found = submitted(site, job)
    until_ended(site, job, found)
    (slurm.folder / "jobs" / "down").touch()

    seen = looked(site, job, found)

    assert (seen.facts, seen.record) == (None, Record(3, 1, 1))
    assert "Connection refused" in seen.accounting


def test_job_that_left_the_listing_is_asked_for_by_its_id(site, slurm):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    site.state.faults.append(Fault("GET /compute/demo/jobs$", status=200, body={"jobs": None}))

    assert looked(site, job, found).facts.state == "COMPLETED"


def test_id_that_belongs_to_somebody_elses_job_tells_nothing(site, slurm):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    (slurm.folder / "jobs" / found.job_id / "name").write_text("another\n")

    assert looked(site, job, found).facts is None


def test_array_is_told_by_its_worst_element_and_its_records(site, slurm):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    folder = Path(found.folder)
    for index, code in enumerate([0, 5, 0], start=1):
        (folder / f"exit.{index}").write_text(f"{code}\n")
        (folder / f"out.{index}").write_text(f"I am {index}\n")
    (folder / "exit.0").unlink()
    (folder / "elements").write_text("3\n")
    rows = [
        {"jobId": f"{found.job_id}_{number}", "name": job.name, "status": {"state": state, "exitCode": code}}
        for number, state, code in ((1, "COMPLETED", 0), (2, "FAILED", 5), (3, "COMPLETED", 0))
    ]
    asked = Asked(job.token, found.job_id, found.folder, array=True)

    def looks(shown):
        site.state.faults = [Fault(r"GET /compute/demo/jobs(/\d+)?$", status=200, times=9, body={"jobs": shown})]
        return with_cluster(site, lambda cluster: cluster.look([asked]))[job.token]

    whole, partly = looks(rows), looks(rows[:2])
    (folder / "exit.3").unlink()
    unknown = looks([])
    (folder / "exit.3").write_text("0\n")
    site.state.faults = [Fault(r"GET /compute/demo/jobs/", status=200, body={"jobs": rows})]
    out, _ = with_cluster(site, lambda cluster: cluster.tail(asked))

    assert (whole.facts.state, whole.facts.code) == ("FAILED", 5)
    assert whole.facts.elements == {"COMPLETED": 2, "FAILED": 1}
    assert whole.record == Record(5, 3, 1)
    assert (partly.facts, partly.accounting) == (None, "it knows 2 of 3 elements")
    # Those that have written theirs say nothing of those that have not.
    assert (unknown.facts, unknown.record) == (None, None)
    assert out == ["I am 2"]


def test_paths_that_the_server_would_misread_are_refused(site):
    quoted = replace(cluster_of(site).platform, scratch=site.scratch + "/it's")

    async def submit(cluster):
        cluster.platform = quoted
        return await cluster.submit(a_job())

    with pytest.raises(AccessError, match="no path that FirecREST can take"):
        with_cluster(site, submit)


def test_home_is_where_a_platform_names_no_scratch(site):
    async def home(cluster):
        cluster.platform = replace(cluster.platform, scratch="")
        return await cluster.folder_of("t"), await cluster.files.absolute("~/x"), await cluster.files.absolute("y/")

    assert with_cluster(site, home) == (
        f"{site.scratch}/me/.windrose/t",
        f"{site.scratch}/me/x",
        f"{site.scratch}/me/y",
    )


def test_scratch_that_is_not_there_is_a_refusal(site):
    async def submit(cluster):
        cluster.platform = replace(cluster.platform, scratch=f"{site.scratch}/none")
        return await cluster.submit(a_job())

    assert with_cluster(site, submit) == Refused(f"there is no folder {site.scratch}/none")


def test_empty_file_is_written_although_the_server_waits_for_its_content(site):
    async def write(cluster):
        await cluster.files.write(site.scratch, "empty", b"")

    with_cluster(site, write)

    assert Path(site.scratch, "empty").read_bytes() == b""


def test_scratch_that_nobody_may_write_to_is_told(site):
    body = {"message": "Remote process failed with exit status:1 and error message:mkdir: Permission denied"}
    site.state.faults.append(Fault("ops/mkdir", status=403, body=body))

    with pytest.raises(AccessError, match="does not let this login write"):
        with_cluster(site, lambda cluster: cluster.submit(a_job()))


def test_cluster_that_cannot_be_reached_is_an_error_and_no_refusal(site):
    site.state.faults.append(Fault("ops/mkdir", status=424, body={"message": "Unable to establish SSH connection."}))

    with pytest.raises(ClusterError, match="Unable to establish SSH connection"):
        with_cluster(site, lambda cluster: cluster.submit(a_job()))
