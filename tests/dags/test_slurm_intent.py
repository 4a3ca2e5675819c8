"""Is there one job a task, whatever happens to its tries? Real tries, in their own database; the cluster counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow.configuration")

ROOT = Path(__file__).resolve().parents[2]
LIVES = Path(__file__).with_name("slurm_lives.py")
WATCHED, WAITING = "windrose.triggers.slurm.SlurmTrigger", "windrose.triggers.slurm_wait.SlurmWaitTrigger"


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """What happened in each life; one process tells of them all, because a database takes seconds to make."""
    home = tmp_path_factory.mktemp("airflow")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "plugins", "dags")),
    }
    argv = [sys.executable, str(LIVES), str(home / "told.json")]
    done = subprocess.run(argv, env={**kept, **own}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((home / "told.json").read_text())


def test_job_that_completes_is_a_success_and_its_record_outlasts_any_queue(lives):
    told = lives["job_that_completes"]

    assert (told["states"], told["jobs"], told["cancelled"]) == (["deferred", "success"], 1, 0)
    assert (told["expires"], told["record"]["ended"], told["record"]["held"]) == (None, "well", False)


def test_worker_killed_as_the_cluster_has_the_job_leaves_one_job(lives):
    told = lives["worker_killed_as_the_cluster_has_the_job"]

    assert (told["states"], told["jobs"], told["cancelled"]) == (["up_for_retry", "deferred"], 1, 0)


def test_retries_changed_in_the_file_do_not_make_a_second_job(lives):
    told = lives["retries_changed_in_the_file_between_two_tries"]

    assert (told["states"], told["jobs"]) == (["up_for_retry", "deferred"], 1)


def test_failed_job_is_not_run_again(lives):
    told = lives["job_that_failed"]

    assert (told["states"], told["jobs"], told["record"]["ended"]) == (["deferred", "failed"], 1, "badly")
    assert told["error"].endswith("\nno")


def test_job_lost_with_its_node_is_run_again(lives):
    told = lives["node_that_failed"]

    assert (told["states"], told["jobs"]) == (["deferred", "up_for_retry", "deferred"], 2)


def test_clear_cancels_the_job_and_begins_a_new_one(lives):
    told = lives["deferred_task_cleared"]

    assert (told["states"], told["jobs"], told["cancelled"]) == (["deferred", "deferred"], 2, 1)


def test_clear_after_the_end_begins_a_new_one(lives):
    again, twice = lives["successful_task_cleared"], lives["failed_task_cleared_twice"]

    assert (again["states"], again["jobs"], again["cancelled"]) == (["deferred", "success", "deferred"], 2, 0)
    assert (twice["jobs"], twice["cancelled"], twice["states"][-1]) == (3, 0, "deferred")


def test_clear_of_a_task_that_submits_begins_a_new_one_although_airflow_raises_no_number_of_tries(lives):
    told = lives["task_cleared_while_it_submits"]

    assert told["raised"] == 0
    assert (told["jobs"], told["cancelled"], told["states"][-1]) == (2, 1, "deferred")


def test_clear_of_another_task_of_the_run_changes_nothing(lives):
    one, two = (lives["another_task_of_the_run_cleared"][name] for name in ("one", "two"))

    assert (one["jobs"], one["cancelled"], one["states"]) == (2, 0, ["deferred", "deferred", "success"])
    assert (two["jobs"], two["cancelled"]) == (2, 0)


def test_run_made_again_under_the_same_id_begins_anew(lives):
    told = lives["run_deleted_and_made_again"]

    assert (told["left"], told["jobs"], told["states"]) == ({}, 2, ["deferred", "deferred"])


def test_cluster_that_is_away_is_waited_for_without_a_slot(lives):
    told = lives["cluster_away_and_back"]

    assert (told["states"], told["jobs"]) == (["deferred", "deferred"], 1)
    assert (told["waits"], told["seconds"], told["then"]) == (WAITING, 30, WATCHED)
    assert lives["cluster_away_for_too_long"]["states"] == ["up_for_retry"]


def test_new_job_of_a_cleared_task_waits_until_the_old_one_could_be_cancelled(lives):
    before, after = (lives["cleared_while_the_cluster_is_away"][name] for name in ("before", "after"))

    assert (before["jobs"], before["cancelled"], before["states"][-1]) == (1, 0, "deferred")
    assert (after["jobs"], after["cancelled"], after["states"][-1]) == (2, 1, "deferred")


def test_refused_job_fails_at_once_with_what_slurm_says(lives):
    told = lives["refused_job"]

    assert (told["states"], told["jobs"]) == (["failed"], 0)
    assert "Invalid account" in told["error"]


def test_kill_in_the_middle_of_a_submit_cancels_the_job(lives):
    told = lives["task_marked_failed_while_it_submits"]

    assert (told["states"], told["jobs"], told["cancelled"] > 0) == (["failed"], 1, True)


def test_stop_of_the_process_alone_leaves_the_job(lives):
    told = lives["process_stopped_while_it_submits"]

    assert (told["states"], told["jobs"], told["cancelled"]) == (["deferred"], 1, 0)


def test_execution_timeout_cancels_what_was_submitted_and_the_retry_begins_anew(lives):
    told = lives["execution_timeout_while_it_submits"]

    assert (told["states"], told["cancelled"]) == (["up_for_retry", "deferred"], 1)


def test_mapped_tasks_have_a_job_each(lives):
    told = lives["mapped_tasks_have_a_job_each"]

    assert (told["jobs"], told["tokens"], told["states"]) == (2, 2, ["up_for_retry", "deferred", "deferred"])
