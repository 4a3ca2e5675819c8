"""Tasks: what happens to them when memory runs out, processes die, and services restart."""

from __future__ import annotations

import time

import pytest

from tests.engine_support import Stack, eventually, run

NOTICED_WITHIN = 180
# Tasks that have hardly deferred themselves when their triggers fire.
QUICK = """
from datetime import timedelta
from airflow.sdk import DAG, BaseOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

class Quick(BaseOperator):
    def __init__(self, number, **words):
        super().__init__(**words)
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(0)), method_name="go_on")
    def go_on(self, context, event=None):
        pass

with DAG("own-quick", schedule=None, is_paused_upon_creation=False):
    Quick.partial(task_id="quick", retries=0).expand(number=list(range(60)))
"""
API_SERVER_IS_AWAY = 15


def is_running(stack: Stack, path: str, task: str = "sleep") -> bool:
    """Say whether a run's task is at work: its own first line is in its log."""
    return stack.tasks(path)[task]["state"] == "running" and "sleeping" in stack.log(path, task)


def kill_task(stack: Stack, service: str, path: str) -> list[str]:
    """Kill every process of a run's task, as the kernel would; return what they were."""
    task_id = stack.tasks(path)["sleep"]["id"]
    script = (
        "import os, pathlib, sys\n"
        "for folder in pathlib.Path('/proc').glob('[0-9]*'):\n"
        "    try:\n"
        "        words = (folder / 'cmdline').read_bytes().replace(b'\\0', b' ').decode()\n"
        "        if sys.argv[1] in words and int(folder.name) != os.getpid():\n"
        "            os.kill(int(folder.name), 9)\n"
        "            print(words)\n"
        "    except OSError:\n"  # it has ended since it was listed
        "        continue\n"
    )
    return stack.exec(service, "python", "-c", script, task_id).stdout.splitlines()


@pytest.fixture(scope="module")
def killed_run(stack: Stack) -> str:
    """A run whose task was killed with all its processes."""
    path = stack.trigger("own-sleeping", seconds=600)
    eventually(lambda: is_running(stack, path), within=60)
    assert kill_task(stack, "airflow-scheduler", path) != []
    return path


def test_running_task_survives_the_api_server(stack: Stack, killed_run: str) -> None:
    path = stack.trigger("own-sleeping", seconds=25)
    eventually(lambda: is_running(stack, path), within=60)

    stopped = stack.compose("stop", "airflow-apiserver")
    time.sleep(API_SERVER_IS_AWAY)
    started = stack.compose("start", "airflow-apiserver")

    assert (stopped.returncode, started.returncode) == (0, 0)
    eventually(lambda: stack.health("airflow-apiserver") == "healthy", within=60)
    assert (stack.result(path), stack.tasks(path)["sleep"]["try_number"]) == ("success", 1)


def test_tasks_go_on_however_soon_their_triggers_fire(stack: Stack, killed_run: str) -> None:
    file = stack.write_dag("quick_dag.py", QUICK)
    eventually(lambda: "own-quick" in stack.dag_ids(), within=60)

    paths = [stack.trigger("own-quick") for _ in range(2)]

    assert [stack.result(path, within=400) for path in paths] == ["success", "success"]
    file.unlink()
    eventually(lambda: "own-quick" not in stack.dag_ids(), within=60)
    stack.api("DELETE", "dags/own-quick")


def test_task_that_takes_too_much_fails_alone(stack: Stack, killed_run: str) -> None:
    before = stack.starts()
    limit = stack.containers("airflow-scheduler")[0]["HostConfig"]["Memory"]

    path = stack.trigger("own-eating", megabytes=limit // 1024**2 + 100)

    assert stack.result(path) == "failed"
    assert "out of memory" in stack.log(path, "eat").lower()
    assert (stack.starts(), stack.health("airflow-scheduler")) == (before, "healthy")


def test_running_task_survives_a_restart_of_its_scheduler(stack: Stack, killed_run: str) -> None:
    path = stack.trigger("own-sleeping", seconds=10)
    eventually(lambda: is_running(stack, path), within=60)

    done = stack.make("restart", "SERVICE=airflow-scheduler")

    assert (done.returncode, stack.result(path), stack.tasks(path)["sleep"]["try_number"]) == (0, "success", 1)


def test_killed_task_is_noticed_and_tried_again(stack: Stack, killed_run: str) -> None:
    assert stack.result(killed_run, within=NOTICED_WITHIN) == "success"
    assert stack.tasks(killed_run)["sleep"]["try_number"] == 2
    assert run("docker", "inspect", "--format={{.RestartCount}}", stack.id("airflow-scheduler")).stdout.strip() == "0"
