"""The commands about runs find the Airflow without Docker, too."""

from __future__ import annotations

import re

from tests.embedded.conftest import Embedded


def test_run_is_started_waited_for_and_read(stack: Embedded) -> None:
    trigger = stack.command("trigger", DAG="tutorial-hello-world", WAIT="1")
    logs = stack.command("dag_logs", DAG="tutorial-hello-world", TASK="hello_world")
    runs = stack.command("runs", DAG="tutorial-hello-world", LINES="1")
    dags = stack.command("dags")

    run_id, page = trigger.stdout.split()[1:3]
    assert (trigger.returncode, trigger.stderr) == (0, "")
    assert page.startswith(f"http://127.0.0.1:{stack.port}/dags/tutorial-hello-world/runs/manual__")
    assert re.search(r"hello_world  success after \d+\.\d s\nsuccess after \d+\.\d s\n$", trigger.stdout)
    assert re.search(r"^\d\d:\d\d:\d\d airflow$", logs.stdout, flags=re.MULTILINE)
    assert runs.stdout.splitlines()[1].split()[:2] == [run_id, "success"]
    assert re.search(r"^tutorial-hello-world +by hand +success +integration$", dags.stdout, flags=re.MULTILINE)
