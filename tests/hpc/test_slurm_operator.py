"""SlurmOperator on a real cluster: real tries in a database of their own, real triggers, real jobs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.slurm_support import Cluster

pytest.importorskip("airflow.configuration")

ROOT = Path(__file__).resolve().parents[2]
Lives = dict[str, Any]


@pytest.fixture(scope="module")
def lives(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Lives:
    """What happened in each life; one process tells of them all."""
    home = tmp_path_factory.mktemp("airflow")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_HPC-DEMO": slurm.connection_json(),
        "AIRFLOW_VAR_WINDROSE_INSTALLATION": "of-the-tests",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "plugins", "dags")),
        "WINDROSE_EMBEDDED": str(home / "clone" / ".windrose"),  # data/ lies two folders above
    }
    argv = [sys.executable, str(Path(__file__).with_name("slurm_lives.py")), str(home / "told.json")]
    done = subprocess.run(argv, env={**kept, **own}, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads((home / "told.json").read_text()))


def in_accounting(slurm: Cluster, life: Lives) -> list[str]:
    """Return the states of all jobs that accounting has of a life's task."""
    words = life["record"]["name"].rpartition(".")[0]
    names = slurm.exec("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-1days", "--allusers",
                       "--format=JobName,State").splitlines()  # fmt: skip
    own = slurm.exec("cat", f"{life['record']['folder']}/origin.json", check=False)
    assert json.loads(own)["installation"] == "of-the-tests"
    return [line.partition("|")[2].split()[0] for line in names if line.startswith(f"{words}.")]


def test_result_holds_the_facts_of_the_job_and_what_it_printed_last(lives: Lives) -> None:
    told = lives["completes"]

    assert told["states"] == ["deferred", "success"]
    facts = told["returned"]
    assert (facts["state"], facts["exit_code"], facts["nodes"], facts["result"]) == (
        *("COMPLETED", 0, "demo-1"),
        {"made": 3},
    )
    assert (facts["job_id"], facts["log"]) == (told["record"]["job_id"], f"{facts['folder']}/out")
    assert facts["seconds"] >= 0 and facts["cpu_seconds"] > 0


def test_outputs_are_copied_and_checked(lives: Lives) -> None:
    assert lives["copied"] == {"made.csv": "made\n"}
    assert [(row["file"], row["checked"]) for row in lives["completes"]["returned"]["outputs"]] == [
        ("data/out/made.csv", "sha256")
    ]


def test_error_of_a_failed_job_ends_with_its_last_lines_of_stderr(lives: Lives) -> None:
    told = lives["fails"]

    assert told["states"] == ["deferred", "failed"]
    assert "failed with exit code 3" in told["error"]
    assert told["error"].endswith("\nfirst cause\nit is broken")
    assert (told["returned"]["state"], told["returned"]["exit_code"]) == ("FAILED", 3)


def test_script_gets_its_words_and_its_environment_as_they_were_written(lives: Lives) -> None:
    told = lives["script"]

    assert told["states"] == ["deferred", "success"]
    assert told["tail"][0] == "arguments a b $(id) in"
    assert "\n".join(told["tail"][1:]) == 'from O\'Neill "x" `id`\n$HOME ${#array[@]}'


def test_array_fails_with_the_element_that_failed(lives: Lives) -> None:
    told = lives["array"]

    assert (told["states"][-1], told["returned"]["elements"]) == ("failed", {"COMPLETED": 2, "FAILED": 1})
    assert "1 of 3 elements" in told["error"]


def test_timeout_cancels_the_job(lives: Lives, slurm: Cluster) -> None:
    told = lives["late"]

    assert "was cancelled, because the task's timeout was over" in told["error"]
    assert slurm.ends_as(told["record"]["job_id"], within=30) == "CANCELLED"


def test_refusal_tells_what_slurm_says_and_what_to_change(lives: Lives) -> None:
    told = lives["refused"]

    assert told["states"] == ["failed"]
    assert re.search(r"hpc-demo: the job was refused: .*nvalid partition.*check `partition=`", told["error"])


def test_input_that_is_not_there_fails_before_anything_is_submitted(lives: Lives) -> None:
    assert (lives["missing"]["states"], lives["missing"]["record"]["job_id"]) == (["failed"], "")
    assert "finds no file" in lives["missing"]["error"]


def test_worker_killed_in_the_moment_after_the_submit_leaves_one_job(lives: Lives, slurm: Cluster) -> None:
    told = lives["killed"]

    assert told["states"] == ["up_for_retry", "deferred", "success"]
    assert in_accounting(slurm, told) == ["COMPLETED"]


def test_clear_cancels_the_job_and_runs_another(lives: Lives, slurm: Cluster) -> None:
    told = lives["cleared"]

    assert slurm.ends_as(told["first"]["job_id"], within=30) == "CANCELLED"
    assert told["record"]["job_id"] != told["first"]["job_id"]
    assert len(in_accounting(slurm, told)) == 2
