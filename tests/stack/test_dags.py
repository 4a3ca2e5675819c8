"""DAGs: what is saved appears, what is broken is named, what runs leaves a log."""

from __future__ import annotations

from pathlib import Path

from tests.engine_support import OWN_DAGS, Stack, eventually

MAKE_FAILED = 2  # make says 2 whatever the command said; `python -m scripts status` says 1
SHIPPED = "tutorial-hello-world"
NEW = """
from airflow.sdk import DAG
with DAG(dag_id="own-new", schedule=None):
    pass
"""


def test_shipped_and_own_dags_appear(stack: Stack) -> None:
    eventually(lambda: stack.dag_ids() == sorted([*OWN_DAGS, SHIPPED]), within=60)


def test_saved_dag_appears_without_a_command(stack: Stack) -> None:
    before = stack.starts()

    path = stack.write_dag("new_dag.py", NEW)

    eventually(lambda: "own-new" in stack.dag_ids(), within=30)
    path.unlink()
    assert stack.starts() == before


def test_hello_world_run_leaves_its_word_in_the_log(stack: Stack) -> None:
    run = stack.trigger(SHIPPED)

    assert stack.result(run) == "success"
    assert '"event": "airflow"' in stack.log(run, "hello_world")


def test_log_is_readable_while_deferred_and_after(stack: Stack) -> None:
    run = stack.trigger("own-deferring", seconds=8)

    eventually(lambda: stack.tasks(run)["wait"]["state"] == "deferred", within=60)
    eventually(lambda: "the task defers" in stack.log(run, "wait"), within=10)
    eventually(lambda: "the trigger runs" in stack.log(run, "wait"), within=20)

    assert stack.result(run) == "success"
    assert "the task goes on" in stack.log(run, "wait")
    shared = {path.name: path.read_text(encoding="utf-8") for path in (stack.folder / "data").iterdir()}
    assert shared == {"from-task": "task", "from-trigger": "task, trigger"}


def test_log_is_readable_while_running(stack: Stack) -> None:
    run = stack.trigger("own-sleeping", seconds=6)

    eventually(lambda: stack.tasks(run)["sleep"]["state"] == "running", within=60)
    eventually(lambda: "sleeping" in stack.log(run, "sleep"), within=10)

    assert stack.result(run) == "success"


def test_broken_dag_is_named_with_file_and_line(stack: Stack) -> None:
    broken = stack.write_dag("broken_dag.py", "from airflow.sdk import DAG\n\nraise RuntimeError('so it is')\n")

    eventually(lambda: stack.api("GET", "importErrors")["total_entries"] == 1, within=30)
    done = stack.make("status")
    broken.unlink()

    expected = "dags/own/broken_dag.py line 3: RuntimeError: so it is; mend the file, it is read again within seconds."
    assert (done.returncode, done.stdout.splitlines()[-1]) == (MAKE_FAILED, expected)
    eventually(lambda: stack.api("GET", "importErrors")["total_entries"] == 0, within=60)


def test_library_none_hides_shipped_dags_only(stack: Stack, dags_folder: Path) -> None:
    before = stack.starts()

    stack.configure(LIBRARY="none")
    stack.up()

    eventually(lambda: stack.dag_ids() == OWN_DAGS, within=60)
    stack.configure(LIBRARY="all")
    stack.up()
    eventually(lambda: SHIPPED in stack.dag_ids(), within=60)
    assert stack.starts() == before
