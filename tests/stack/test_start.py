"""`make up`: it completes after kills, changes nothing on a running stack, and runs once at a time."""

from __future__ import annotations

import signal

from tests.engine_support import FIRST_STARTS, Stack

EVERYTHING = [
    "airflow-apiserver",
    "airflow-dag-processor",
    "airflow-init",
    "airflow-scheduler",
    "airflow-triggerer",
    "janitor",
    "postgres",
]


def test_up_completes_after_kills(stack: Stack) -> None:
    status = stack.make("status")

    assert stack.killed == [-signal.SIGKILL] * len(FIRST_STARTS)
    assert (status.returncode, status.stdout.splitlines()[-1]) == (0, "everything is healthy")
    assert stack.services() == EVERYTHING


def test_second_up_touches_no_container(stack: Stack) -> None:
    before = stack.starts()

    done = stack.make("up")

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"Airflow   http://127.0.0.1:{stack.port}")
    assert stack.starts() == before


def test_of_two_ups_at_once_one_waits_its_turn(stack: Stack) -> None:
    before = stack.starts()

    both = [stack.begin("up"), stack.begin("up")]
    ends = sorted((*process.communicate(), process.returncode) for process in both)

    assert sorted(code for _, _, code in ends) == [0, 1, 2][: len(ends)][:1] + [ends[0][2] or ends[1][2]]
    assert "make up: another one is running in this clone; wait for it, or stop it." in ends[0][1] + ends[1][1]
    assert stack.starts() == before
