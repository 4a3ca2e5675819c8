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
    "keys",
    "postgres",
]


def test_up_completes_after_kills(stack: Stack) -> None:
    status = stack.make("status")

    # A fast machine may be done before the last kill.
    assert (len(stack.killed), stack.killed[0]) == (len(FIRST_STARTS), -signal.SIGKILL)
    assert set(stack.killed) <= {-signal.SIGKILL, 0}, "".join(stack.said)
    assert (status.returncode, status.stdout.splitlines()[-1]) == (0, "everything is healthy")
    assert stack.services() == EVERYTHING


def test_second_up_touches_no_container(stack: Stack) -> None:
    before = stack.starts()

    done = stack.make("up")

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"Airflow   http://127.0.0.1:{stack.port}")
    assert stack.starts() == before


def test_of_two_ups_at_once_one_says_so(stack: Stack) -> None:
    before = stack.starts()

    both = [stack.begin("up"), stack.begin("up")]
    said = [process.communicate()[1] for process in both]

    assert sorted(process.returncode for process in both) == [0, 2]
    assert "make up: another command is at work in this clone; wait for it, or stop it." in "".join(said).splitlines()
    assert stack.starts() == before
