"""Slurm behind FirecREST, with real Slurm: over our small server, or over a real one (tests/firecrest_support.py)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from windrose import transfer
from windrose.slurm.firecrest_cluster import FirecrestCluster
from windrose.slurm.model import Asked, Job, Platform, Record, Refused, Submitted, Unsure
from windrose.transfer_firecrest import FirecrestPlace
from windrose.transfer_places import LocalPlace

from tests.firecrest_state import Fault
from tests.firecrest_support import running_site
from tests.slurm_support import ACCOUNT, SCRATCH, USERS

WITHIN = 40
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(request, tmp_path_factory):
    # A site of somebody's own has a cluster of its own.
    cluster = None if os.environ.get("FIRECREST_URL") else request.getfixturevalue("slurm")
    folder = tmp_path_factory.mktemp("firecrest")
    with running_site(cluster, folder, user=USERS[0], scratch=SCRATCH, account=ACCOUNT) as found:
        yield found


def with_cluster(site, work):
    async def together():
        cluster = FirecrestCluster(Platform("hpc-demo", transport="firecrest", scratch=site.scratch), site.connection())
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(together())


def a_job(site, body, *directives):
    token = "".join(random.choices("abcdefghijklmnopqrstuvwxyz234567", k=20))
    element = ".%a" if any("array" in line for line in directives) else ""
    lines = [f"--job-name=wr.t.{token}", f"--output={{folder}}/out{element}", f"--error={{folder}}/err{element}"]
    lines += [f"--account={site.account}"] * bool(site.account) + ["--time=5", *directives]
    record = "{folder}/exit.${SLURM_ARRAY_TASK_ID:-0}"
    script = "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {line}" for line in lines),
            f"( {body} )",
            "code=$?",
            f"echo $code > {record}",
            "exit $code",
        ]
    )
    return Job(token, f"wr.t.{token}", script + "\n", origin={"task_id": "t"})


def submitted(site, job):
    end = time.monotonic() + WITHIN
    found = with_cluster(site, lambda cluster: cluster.submit(job))
    while isinstance(found, Unsure) and time.monotonic() < end:
        time.sleep(0.5)
        found = with_cluster(site, lambda cluster: cluster.submit(job))
    assert isinstance(found, Submitted), found
    return found


def seen_as(site, job, found, *states, array=False):
    """Look until the job is in one of the states; return what was seen, and all its output."""
    asked, out = Asked(job.token, found.job_id, found.folder, array=array), b""
    end, seen = time.monotonic() + WITHIN, None
    while time.monotonic() < end:
        seen = with_cluster(site, lambda cluster: cluster.look([asked])).get(job.token)
        if seen is not None:
            out += seen.out
            asked.out, asked.err = seen.out_at, seen.err_at
            if seen.facts is not None and seen.facts.state in states and not seen.more:
                return seen, out
        time.sleep(0.5)
    raise AssertionError(seen)


def test_job_runs_once_and_is_seen_to_its_end(site):
    job = a_job(site, "for i in 1 2 3; do echo line $i; sleep 1; done; pwd; echo oops >&2; exit 3")

    first, again = submitted(site, job), submitted(site, job)
    seen, out = seen_as(site, job, first, "FAILED")
    last = with_cluster(site, lambda cluster: cluster.tail(Asked(job.token, first.job_id, first.folder)))

    assert (first.fresh, again.fresh, again.job_id) == (True, False, first.job_id)
    assert (seen.facts.code, seen.record, seen.facts.nodes != "") == (3, Record(3, 1, 1), True)
    assert out.decode() == f"line 1\nline 2\nline 3\n{first.folder}/work\n"
    assert last[1] == ["oops"]


def test_running_job_is_in_the_queue_until_it_is_cancelled(site):
    job = a_job(site, "sleep 300")
    found = submitted(site, job)
    seen_as(site, job, found, "RUNNING", "PENDING")

    queued = with_cluster(site, lambda cluster: cluster.queued())
    cancelled = [with_cluster(site, lambda cluster: cluster.cancel(job.token)) for _ in range(2)]
    seen, _ = seen_as(site, job, found, "CANCELLED")

    assert (found.job_id, {"task_id": "t"}) in [(each.job_id, dict(each.origin)) for each in queued]
    assert cancelled == [found.job_id, found.job_id]
    assert seen.facts.by != ""


def test_array_ends_as_its_worst_element(site):
    job = a_job(site, "echo I am $SLURM_ARRAY_TASK_ID; exit $((SLURM_ARRAY_TASK_ID * 2))", "--array=0-2")
    found = submitted(site, job)

    seen, _ = seen_as(site, job, found, "FAILED", array=True)
    asked = Asked(job.token, found.job_id, found.folder, array=True)
    out, _ = with_cluster(site, lambda cluster: cluster.tail(asked))

    assert seen.facts.elements == {"COMPLETED": 1, "FAILED": 2}
    assert seen.record == Record(4, 3, 2)
    assert out in (["I am 1"], ["I am 2"])


@pytest.mark.parametrize(
    ("directive", "says"),
    [("--account=nobody", "Invalid account"), ("--partition=nowhere", "invalid partition"), ("--time=soon", "time")],
)
def test_refusal_is_told_in_slurms_words(site, directive, says):
    found = with_cluster(site, lambda cluster: cluster.submit(a_job(site, "true", directive)))

    assert isinstance(found, Refused)
    assert says.lower() in found.says.lower()


def test_files_go_there_and_back(site, tmp_path):
    data = os.urandom(2_500_000)
    (tmp_path / "in").write_bytes(data)
    (tmp_path / "none").write_bytes(b"")
    here, there = LocalPlace(tmp_path), FirecrestPlace(site.connection(), account=site.account)
    far = f"{site.scratch}/.windrose/{random.randrange(10**12)}"
    try:
        rows = [
            transfer.copy_file(source, target, source.find(path), to, count=lambda _: None)
            for source, path, target, to in (
                (here, "in", there, f"{far}/deep/in"),
                (here, "none", there, f"{far}/none"),
                (there, f"{far}/deep/in", here, "back"),
            )
        ]
        found = sorted((file.path, file.size) for file in there.walk(far))
        there.delete(far)
    finally:
        there.close()

    assert [(row.state, row.checked) for row in rows] == [("copied", "sha256")] * 3
    assert (tmp_path / "back").read_bytes() == data
    assert found == [("deep/in", len(data)), ("none", 0)]


def test_submit_whose_answer_is_lost_is_one_job(site):
    if site.state is None:
        pytest.skip("only our own server loses answers on demand")
    job = a_job(site, "true")
    site.state.faults.append(Fault("POST /compute", cut="after"))

    first = with_cluster(site, lambda cluster: cluster.submit(job))
    second = submitted(site, job)
    rows = with_cluster(site, lambda cluster: cluster.listing())

    assert isinstance(first, Unsure)
    assert [row["jobId"] for row in rows if row["name"] == job.name] == [second.job_id]


def test_tasks_live_over_it_as_they_do_over_ssh(site, tmp_path):
    """The same lives as in test_slurm_operator.py: operator, trigger, watcher and files, over the other transport."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    own = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_HPC-DEMO": site.connection_json(),
        "AIRFLOW_VAR_WINDROSE_INSTALLATION": "of-the-tests",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "plugins", "dags")),
        "WINDROSE_EMBEDDED": str(tmp_path / "clone" / ".windrose"),
    }
    told = tmp_path / "told.json"
    argv = [sys.executable, str(Path(__file__).with_name("slurm_lives.py")), str(told), "completes", "fails", "killed"]
    done = subprocess.run(argv, env={**kept, **own}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    lives = json.loads(told.read_text())

    states = {name: (life["states"][-1], life["returned"]["state"]) for name, life in lives.items() if name != "copied"}
    assert states == {
        "completes": ("success", "COMPLETED"),
        "fails": ("failed", "FAILED"),
        "killed": ("success", "COMPLETED"),
    }
    assert lives["copied"] == {"made.csv": "made\n"}
    assert lives["fails"]["error"].endswith("\nfirst cause\nit is broken")
