"""`make runs`, `make dag-logs` and `make dags`: what they print, and how the log of a task reads."""

from __future__ import annotations

import re
from collections.abc import Callable

from scripts.airflow_task_log import lines_of
from tests.api_support import SmallAirflow, fail, instance_json

RUN = "manual__2025-09-24T12:04:36.778213+00:00"
Said = tuple[int, list[str], list[str]]


def test_runs_are_listed_newest_first(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", "first", run_type="scheduled", triggered_by="timetable", triggering_user_name=None)
    airflow.add_run("one", "second", state="failed")
    airflow.add_run("one", "third", state="queued", start_date=None, end_date=None)

    code, said, errors = command("runs", DAG="one")

    assert (code, errors) == (0, [])
    assert [re.split(r"\s{2,}", line) for line in said] == [
        ["RUN", "STATE", "STARTED", "TOOK", "TRIGGERED"],
        ["third", "queued", "rest_api by admin"],
        ["second", "failed", "2025-09-24 12:04:37", "4.8 s", "rest_api by admin"],
        ["first", "success", "2025-09-24 12:04:37", "4.8 s", "timetable"],
    ]
    assert command("runs", DAG="one", LINES="1")[1][-1] == "the newest 1; LINES=5 shows more"
    assert command("runs")[1][0].split()[0] == "DAG"


def test_run_that_goes_on_shows_how_long_it_has_taken(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", "first", state="running", end_date=None)

    assert "so far" in command("runs", DAG="one")[1][1]


def test_dag_without_runs_is_told(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")

    assert command("runs", DAG="one") == (0, ["no run yet; `make trigger DAG=one` starts one"], [])
    assert command("dag_logs", DAG="one") == (1, [], ["DAG: one has no run yet; `make trigger DAG=one` starts one."])


def test_dag_logs_shows_the_newest_run_failed_tasks_first(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", "old")
    airflow.add_run("one", RUN)
    fail(airflow)

    code, said, errors = command("dag_logs", DAG="one")

    assert (code, errors, said[0]) == (0, [], f"one  {RUN}  failed")
    assert said[1] == f"{airflow.address}/dags/one/runs/manual__2025-09-24T12%3A04%3A36.778213%2B00%3A00"
    assert [line for line in said if line.startswith("==")] == [
        "== sums[0]  failed, try 2 of 2, 1.2 s",
        "== sums[1]  failed, try 2 of 2, 1.2 s",
        "== good  success, try 1, 1.2 s",
        "== after  upstream_failed, nothing logged",
    ]
    assert said[-4:-2] == ["== good  success, try 1, 1.2 s", "12:00:01 all is well"]


def test_dag_logs_shows_one_task_of_one_run(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", RUN)
    fail(airflow)

    said = command("dag_logs", DAG="one", RUN=RUN, TASK="sums[1]", LINES="2")[1]

    assert said[3:] == [
        "== sums[1]  failed, try 2 of 2, 1.2 s",
        "(41 lines before these)",
        "    dags/mine/one.py line 7 in sums",
        "    ValueError: no such sum",
    ]
    assert command("dag_logs", DAG="one", TASK="sum")[2] == ["TASK: the run has no task sum; did you mean sums?."]
    assert command("dag_logs", DAG="one", RUN="manual")[2][0].startswith("RUN: one has no run manual; ")


def test_what_was_printed_before_the_error_is_shown_before_it(
    airflow: SmallAirflow, command: Callable[..., Said]
) -> None:
    airflow.add_dag("one")
    airflow.add_run("one", RUN)
    fail(airflow)
    airflow.logs["sums"].append({"event": "printed", "level": "info", "timestamp": "2025-09-24T12:00:03Z"})

    said = command("dag_logs", DAG="one", TASK="sums[0]", LINES="4")[1]

    assert said[5:] == [
        "12:00:03 printed",
        "12:00:02 ERROR Task failed with exception",
        "    dags/mine/one.py line 7 in sums",
        "    ValueError: no such sum",
    ]


def test_dag_logs_leaves_out_the_crowd_of_a_mapped_task(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    airflow.add_dag("one")
    run = airflow.add_run("one", RUN)
    states = ["success"] * 249 + ["failed"]
    instances = [instance_json(run, "many", map_index=index, state=state) for index, state in enumerate(states)]
    airflow.instances[RUN] = instances

    said = command("dag_logs", DAG="one")[1]

    assert [line for line in said if line.startswith("==")][0] == "== many[249]  failed, try 1, 1.2 s"
    assert said[-1] == "246 more instances of many have not failed; TASK=many shows them, too"


def test_dags_are_listed_with_the_state_of_their_last_run(airflow: SmallAirflow, command: Callable[..., Said]) -> None:
    tags = [{"name": name, "dag_id": "b", "dag_display_name": "b"} for name in ("two", "one")]
    airflow.add_dag("a")
    airflow.add_dag("b", is_paused=True, timetable_summary="@daily", tags=tags)
    airflow.add_run("b", "first", state="failed")
    airflow.broken_files = 1

    code, said, errors = command("dags")

    assert (code, errors) == (0, [])
    assert [re.split(r"\s{2,}", line) for line in said] == [
        ["DAG", "PAUSED", "SCHEDULE", "LAST RUN", "TAGS"],
        ["a", "by hand"],
        ["b", "paused", "@daily", "failed", "one, two"],
        [""],
        ["1 file cannot be read; `make status` says which and why"],
    ]


def test_log_line_shows_what_was_said_with_it_and_steers_no_terminal() -> None:
    event = {
        "event": "job \x1b[31msubmitted\x1b[0m\x07",
        "level": "warning",
        "timestamp": "nonsense",
        "logger": "windrose",
        "job_id": 17,
        "note": "",
    }

    assert list(lines_of([event])) == ["WARNING job submitted job_id=17"]
    assert list(lines_of([{"event": "two\nlines"}])) == ["two", "lines"]


def test_error_in_a_library_shows_the_place_there() -> None:
    frames = [{"filename": f"/x/site-packages/{name}.py", "lineno": 3, "name": "run"} for name in ("a", "b")]
    error = {"exc_type": "OSError", "exc_value": "gone\nfor good", "frames": frames}

    assert list(lines_of([{"event": "failed", "error_detail": [error]}]))[1:] == [
        "    /x/site-packages/b.py line 3 in run",
        "    OSError: gone",
        "    for good",
    ]
