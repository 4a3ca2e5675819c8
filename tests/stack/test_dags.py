"""DAGs: what is saved appears, what is broken is named, what runs leaves a log."""

from __future__ import annotations

import re
import time
from pathlib import Path

from scripts.settings import ROOT, SHIPPED_FOLDERS, SHOWN_WHEN_NAMED
from tests.engine_support import OWN_DAGS, Stack, eventually

MAKE_FAILED = 2  # make says 2 whatever the command said; `python -m scripts status` says 1
SHIPPED = "tutorial-hello-world"
SHOWN = [folder for folder in SHIPPED_FOLDERS if folder not in SHOWN_WHEN_NAMED]
LIBRARY = [
    re.findall(r'dag_id="([^"]+)"', path.read_text(encoding="utf-8"))[0]
    for folder in SHOWN
    for path in (ROOT / "dags" / folder).rglob("*.py")
]
NEW = """
from airflow.sdk import DAG
with DAG(dag_id="own-new", schedule=None):
    pass
"""


def test_shipped_and_own_dags_appear(stack: Stack) -> None:
    assert len(LIBRARY) >= 8
    eventually(lambda: stack.dag_ids() == sorted([*OWN_DAGS, *LIBRARY]), within=60)


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


def shows_in_time(stack: Stack, path: Path, tag: str) -> bool:
    """Give the new DAG another tag; say whether that shows within five seconds."""
    path.write_text(NEW.replace("schedule=None", f'schedule=None, tags=["{tag}"]'), encoding="utf-8")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if tag in str(stack.api("GET", "dags/own-new")["tags"]):
            return True
        time.sleep(0.1)
    return False


def test_changed_dag_shows_within_five_seconds(stack: Stack) -> None:
    path = stack.write_dag("new_dag.py", NEW)
    eventually(lambda: "own-new" in stack.dag_ids(), within=30)

    # Now and then all files are read again, and this one waits behind the others; not three times in a row.
    assert any(shows_in_time(stack, path, tag) for tag in ("changed-once", "changed-twice", "changed-thrice"))
    path.unlink()


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


def test_missing_argument_is_named_with_its_line_and_breaks_nothing_else(stack: Stack) -> None:
    before = stack.dag_ids()
    lines = [
        "from airflow.providers.standard.operators.bash import BashOperator",
        "from airflow.sdk import DAG",
        "with DAG(dag_id='own-missing', schedule=None):",
        "    BashOperator(task_id='t1')",
    ]
    broken = stack.write_dag("missing_dag.py", "\n".join(lines) + "\n")

    eventually(lambda: stack.api("GET", "importErrors")["total_entries"] == 1, within=30)
    done = stack.make("status")
    after = stack.dag_ids()
    broken.unlink()

    place, _, reason = done.stdout.splitlines()[-1].partition(": ")
    assert (place, reason[:36]) == ("dags/own/missing_dag.py line 4", "TypeError: missing keyword argument ")
    assert after == before
    eventually(lambda: stack.api("GET", "importErrors")["total_entries"] == 0, within=60)


def test_library_none_hides_shipped_dags_only(stack: Stack, dags_folder: Path) -> None:
    before = stack.starts()

    stack.configure(LIBRARY="none")
    stack.up()

    eventually(lambda: stack.dag_ids() == OWN_DAGS, within=60)
    stack.configure(LIBRARY="all")
    stack.up()
    eventually(lambda: stack.dag_ids() == sorted([*OWN_DAGS, *LIBRARY]), within=60)
    assert stack.starts() == before
