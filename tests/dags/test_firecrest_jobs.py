"""Are FirecREST's words about jobs understood as they are meant?"""

from __future__ import annotations

import pytest
from windrose.slurm import firecrest_jobs as jobs
from windrose.slurm.firecrest_client import Failed
from windrose.slurm.model import Facts

TOKEN = "abcdefghijklmnopqrst"
NAME = f"wr.dag-x.task_1.{TOKEN}"


def row(number="7", state="RUNNING", **more):
    status = {"state": state, "stateReason": more.pop("reason", "None"), "exitCode": more.pop("code", None)}
    status["interruptSignal"] = more.pop("signal", None)
    return {"jobId": number, "name": NAME, "status": status, "time": {"elapsed": 5}, "nodes": "n1", **more}


@pytest.mark.parametrize(
    ("name", "token"),
    [(NAME, TOKEN), (f"wr.x.{TOKEN}!", ""), (f"xwr.x.{TOKEN}", ""), ("wr.short", ""), (None, ""), ("two\nlines", "")],
)
def test_job_is_ours_by_its_name_alone(name, token):
    assert jobs.token_of({"name": name}) == token


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("COMPLETED", "COMPLETED"),
        ("CANCELLED by 1000", "CANCELLED"),
        (["RUNNING", "COMPLETING"], "RUNNING"),
        ("RUNNING,COMPLETING", "RUNNING"),
        ("OUT_OF_MEMORY+", "OUT_OF_MEMORY"),
        ("SOMETHING_NEW", "SOMETHING_NEW"),
        ([], ""),
        (None, ""),
    ],
)
def test_state_is_slurms_first_word(said, state):
    assert jobs.state_of({"status": {"state": said}}) == state


def test_row_is_read_field_by_field():
    ended = row(state="CANCELLED by 1000", code=0, signal=15, nodes="node[1-2]")
    waiting = row(state="PENDING", reason="Resources", nodes="None assigned")

    assert jobs.facts_of([ended]) == Facts(
        "CANCELLED", by="1000", signal=15, seconds=5, nodes="node[1-2]", source="accounting"
    )
    assert jobs.facts_of([waiting]) == Facts("PENDING", reason="Resources", seconds=5, source="queue")
    assert jobs.facts_of([]) is None
    assert jobs.facts_of([{"jobId": "1"}]) == Facts(source="queue")


def test_array_goes_on_while_one_element_does_and_then_ends_as_the_worst():
    going = [row("7_1", "FAILED", code=2), row("7_[2-4,9%2]", "PENDING"), row("8", "RUNNING")]
    over = [row("7_1", "FAILED", code=2), row("7_2", "FAILED", code=9), row("7_3", "TIMEOUT"), row("7_4", "COMPLETED")]

    assert jobs.facts_of(going).elements == {"FAILED": 1, "PENDING": 4}
    assert jobs.facts_of(going).state == "PENDING"
    assert (jobs.facts_of(over).state, jobs.facts_of(over[:2]).code) == ("TIMEOUT", 9)
    assert jobs.id_of(going) == "7"


def test_array_that_only_the_queue_knows_is_counted_by_its_rows():
    assert jobs.facts_of([row("9"), row("8"), row("10")]).elements == {"RUNNING": 3}
    assert jobs.id_of([row("10"), row("9")]) == "9"


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("#SBATCH --chdir=/scratch/x", "/scratch/x"),
        ('#SBATCH --chdir="/with blank"  # why', "/with blank"),
        ("#SBATCH -D /x", "/x"),
        ("#SBATCH --chdir=relative", ""),
        ("echo --chdir=/no", ""),
        ("#SBATCH --nodes=1", ""),
    ],
)
def test_folder_of_a_script_is_found(line, folder):
    assert jobs.chdir_of(f"#!/bin/bash\n{line}\necho\n") == folder


@pytest.mark.parametrize(
    ("status", "says", "refusal"),
    [
        (500, "exit_status:1 std_err:sbatch: error: Batch job submission failed: X", "Batch job submission failed: X"),
        (500, "exit_status:1 std_err:sbatch: error: A\nsbatch: error: B\n", "A; B"),
        (500, "exit_status:255 std_err:sbatch: error: Invalid --time", "Invalid --time"),
        (500, "exit_status:1 std_err:sbatch: error: Batch job submission failed: Socket timed out", ""),
        (500, "exit_status:1 std_err:nothing that sbatch says", ""),
        (500, "Unable to submit new job", ""),
        (400, "1 validation error", "1 validation error"),
        (403, "Job submission rejected: QOSMaxJobs", "Job submission rejected: QOSMaxJobs"),
        (408, "exit_status:1 std_err:sbatch: error: X", ""),
        (503, "maintenance", ""),
    ],
)
def test_refusal_is_told_from_what_nobody_knows(status, says, refusal):
    assert jobs.refusal_in(Failed("x", status=status, says=says)) == refusal
