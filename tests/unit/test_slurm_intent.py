"""What a try makes of the record of an earlier one, and of the texts that name a job or a script."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from windrose.slurm import intent as intents
from windrose.slurm import job_values, script_files
from windrose.slurm.intent import Intent, Now, Step
from windrose.slurm.script import ScriptError
from windrose.slurm.task_record import TaskRecord

FIRST = Now(max_tries=2, retries=2, clears=0)


def record(now: Now = FIRST, **changed: Any) -> Intent:
    """Return a record that a process has let go of."""
    known = intents.begin("hpc", "a-dag", "job", now)
    for name, value in {"held": False, **changed}.items():
        setattr(known, name, value)
    return known


@pytest.mark.parametrize(
    ("known", "now", "step"),
    [
        pytest.param(None, FIRST, Step.SUBMIT, id="first try"),
        pytest.param(record(job_id="7"), FIRST, Step.ATTACH, id="retry"),
        pytest.param(record(held=True), FIRST, Step.ATTACH, id="retry after the process was killed"),
        pytest.param(record(ended="well"), FIRST, Step.ATTACH, id="retry after outputs did not arrive"),
        pytest.param(record(ended="badly"), FIRST, Step.SUBMIT, id="retry after a node failed"),
        pytest.param(record(), Now(2, 0, 0), Step.ATTACH, id="fewer retries in the file"),
        pytest.param(record(), Now(2, 9, 0), Step.ATTACH, id="more retries in the file"),
        pytest.param(record(held=True), Now(2, 1, 0), Step.ATTACH, id="killed, and fewer retries in the file"),
        pytest.param(record(), Now(2, 2, 4), Step.ATTACH, id="other tasks of the run cleared"),
        pytest.param(record(), Now(3, 2, 1), Step.REPLACE, id="cleared"),
        pytest.param(record(), Now(3, 2, 0), Step.REPLACE, id="cleared, and the run left as it is"),
        pytest.param(record(ended="well"), Now(3, 2, 0), Step.SUBMIT, id="the same after success"),
        pytest.param(record(held=True), Now(3, 2, 1), Step.REPLACE, id="cleared while it ran, the executor said so"),
        pytest.param(record(held=True), Now(2, 2, 1), Step.REPLACE, id="cleared while it ran, and its process killed"),
        pytest.param(record(), Now(2, 1, 1), Step.REPLACE, id="cleared with fewer retries, which add up to the same"),
        pytest.param(record(ended="well"), Now(3, 2, 1), Step.SUBMIT, id="cleared after success"),
        pytest.param(record(ended="badly"), Now(3, 2, 1), Step.SUBMIT, id="cleared after failure"),
    ],
)
def test_next_try_goes_on_with_its_job_unless_the_task_was_cleared(known: Intent | None, now: Now, step: Step) -> None:
    assert intents.next_step(known, now) == step


def test_record_taken_in_hand_again_forgets_what_was_cleared_before() -> None:
    known = record()

    known.hold(Now(3, 2, 1))

    assert intents.next_step(known, Now(3, 2, 1)) == Step.ATTACH


def test_record_of_another_version_is_read_as_far_as_it_goes() -> None:
    class Store(dict[str, Any]):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None: ...

    known = record(job_id="7")
    written = {name: getattr(known, name) for name in Intent.__slots__}

    assert intents.read(Store(slurm={**written, "new": 1})) == known  # type: ignore[arg-type]  # a dict can do that
    assert intents.read(Store()) is None  # type: ignore[arg-type]


def test_job_without_a_record_is_that_of_its_event() -> None:
    known = intents.from_event({"token": "t" * 20, "job_id": "7", "folder": "/f"}, "hpc")

    assert (known.token, known.job_id, known.folder, known.platform) == ("t" * 20, "7", "/f", "hpc")


def test_job_is_named_after_its_task_and_found_by_its_token() -> None:
    names = [intents.begin("hpc", dag, "extract.load data\n'\"$(x)" * 9, FIRST) for dag in ("a", "ö" * 70)]

    assert all(re.fullmatch(r"wr\.[A-Za-z0-9_-]{1,60}\.[a-z2-7]{20}", each.name) for each in names)
    assert all(each.name.endswith(each.token) for each in names)
    assert len({each.token for each in names}) == 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Folders of a DAG, of all DAGs and of the data, with scripts."""
    dags, data = tmp_path / "dags", tmp_path / "data"
    for path in (dags / "own" / "job.sh", dags / "shared.sh", data / "made.sh", tmp_path / "secret.sh"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n# {path.name}\n")
    (dags / "link.sh").symlink_to(tmp_path / "secret.sh")
    (dags / "picture.sh").write_bytes(b"\xff\xfe")
    return dags / "own", dags, data


@pytest.mark.parametrize(
    "name", ["job.sh", "own/job.sh", "shared.sh", "dags/shared.sh", "data/made.sh", "../shared.sh"]
)
def test_script_is_found_beside_the_dag_and_below_dags_and_data(folders: tuple[Path, Path, Path], name: str) -> None:
    assert Path(name).name in script_files.read_script(name, *folders)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../../secret.sh", "leads out of dags/ and data/"),
        ("data/../../secret.sh", "leads out of"),
        ("link.sh", "leads out of"),
        ("/etc/hostname", "leads out of"),
        ("missing.sh", "there is no script missing.sh"),
        ("own", "there is no script own"),
        ("picture.sh", "is no text"),
    ],
)
def test_script_elsewhere_is_refused(folders: tuple[Path, Path, Path], name: str, sentence: str) -> None:
    with pytest.raises(script_files.NoScript, match=re.escape(sentence)):
        script_files.read_script(name, *folders)


def test_values_from_a_form_mean_what_they_say() -> None:
    assert job_values.mapping('{"A": "x y", "N": 3, "E": null}', "environment") == {"A": "x y", "N": 3, "E": ""}
    assert job_values.words("gcc/13, python/3.12\nopenmpi") == ["gcc/13", "python/3.12", "openmpi"]
    assert job_values.words(["a b", 3]) == ["a b", "3"]
    assert job_values.arguments("--name 'a, b' $(id)", "arguments") == ["--name", "a, b", "$(id)"]
    assert job_values.seconds_of("1.5", "timeout") == 90
    assert (job_values.mapping("", "environment"), job_values.words(None), job_values.seconds_of("", "timeout")) == (
        *({}, []),
        0,
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: job_values.mapping("{", "environment"), "environment is not JSON"),
        (lambda: job_values.mapping("[1]", "environment"), "environment is a list"),
        (lambda: job_values.container({"image": "a", "bind": "/x"}), "there is no bind"),
        (lambda: job_values.arguments("'a", "arguments"), 'arguments: "\'a" cannot be read'),
        (lambda: job_values.seconds_of("soon", "timeout"), "timeout is 'soon'"),
        (lambda: job_values.seconds_of(-1, "timeout"), "write a time that can pass"),
        (lambda: job_values.seconds_of(float("nan"), "timeout"), "write a time that can pass"),
    ],
)
def test_value_that_cannot_be_meant_is_told(call: Any, sentence: str) -> None:
    with pytest.raises(ScriptError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize(
    ("states", "is_ended"),
    [
        ({"run": {"job": "running"}}, False),
        ({"run": {"job": "up_for_retry"}}, False),
        ({"run": {"job": None}}, False),
        ({"run": {"job": "restarting"}}, True),
        ({"run": {"job": "failed"}}, True),
        ({"run": {"job": "success"}}, True),
        ({}, True),
    ],
)
def test_process_that_is_stopped_between_two_tries_leaves_its_job_to_the_next(states, is_ended) -> None:
    ti = SimpleNamespace(
        dag_id="d", task_id="job", run_id="run", map_index=-1, max_tries=1, task=SimpleNamespace(retries=1)
    )
    ti.get_task_states = lambda **asked: states
    context: Any = {"ti": ti, "task_state_store": {}, "dag_run": SimpleNamespace(clear_number=0)}

    assert TaskRecord(context).is_ended_by_somebody() is is_ended
