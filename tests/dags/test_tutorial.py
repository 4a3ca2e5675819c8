"""The tutorial: ids, files, forms, arrows, return values and sentences are what its pages and its readers rely on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import set_current_context
from functions.general import set_formatted_user

from tests.dags.check_support import ROOT

FOLDER = ROOT / "dags" / "tutorial"
USER = {"token": "test", "user": "user@example.com", "message": "hello", "target": "airflow"}
PARCEL = {"message": "none", "package": "none", "target": "none"}
MACHINE = {"connection": "cloud-cpouta-1", "remote-path": "/home/ubuntu"}
# id -> file, parameters with their defaults, arrows
CONTRACT: dict[str, tuple[str, dict[str, str], set[tuple[str, str]]]] = {
    "tutorial-hello-world": ("hello_world_dag.py", {}, set()),
    "tutorial-dependency": ("dependency_dag.py", USER, {("setup", "preprocess"), ("preprocess", "utilizer")}),
    **{
        f"tutorial-sub-{n}": (
            f"sub_dag_{n}.py",
            PARCEL,
            {("sub_setup", "sub_preprocess"), ("sub_preprocess", "sub_utilizer")},
        )
        for n in (1, 2, 3)
    },
    "tutorial-interaction": ("interaction_dag.py", MACHINE, {("ssh_interaction", "sftp_interaction")}),
    "tutorial-main": (
        "main_dag.py",
        USER,
        {
            ("main_setup", "main_preprocess"),
            ("main_preprocess", "main_utilizer"),
            ("main_preprocess", "trigger_sub_1"),
            ("main_preprocess", "trigger_sub_2"),  # its conf holds what main_preprocess returns
            ("main_preprocess", "trigger_sub_3"),
            ("trigger_sub_1", "trigger_sub_2"),
            ("trigger_sub_2", "trigger_sub_3"),
        },
    ),
}
PARCELS = {1: ("object", "Allas"), 2: ("job", "LUMI"), 3: ("Ray", "CPouta")}


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """The DAGs of the folder by their ids."""
    return dict(DagBag(str(FOLDER)).dags)


@pytest.fixture
def defaults(dags: dict[str, DAG]) -> Iterator[Any]:
    """Runs a task of a DAG with the form's defaults, or other values, as a worker would."""

    def run(dag_id: str, task: str, *given: str, **form: str) -> Any:
        dag = dags[dag_id]
        with set_current_context({"params": {**dag.params.dump(), **form}}):  # type: ignore[typeddict-item]
            return dag.task_dict[task].python_callable(*given)

    yield run


@pytest.mark.parametrize("dag_id", CONTRACT)
def test_file_form_and_arrows_are_those_of_the_tutorial(dags: dict[str, DAG], dag_id: str) -> None:
    dag = dags[dag_id]

    arrows = {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}
    file, params, expected = CONTRACT[dag_id]
    assert (dag.fileloc, dag.params.dump(), arrows) == (str(FOLDER / file), params, expected)
    assert (dag.start_date, dag.schedule, dag.catchup, dag.is_paused_upon_creation) == (None, None, False, False)
    assert dag.tags == {"integration"}


def test_tutorial_has_its_seven_dags_and_the_classic_twin(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == sorted([*CONTRACT, "tutorial-dependency-classic"])


def test_hello_world_prints_airflow(defaults: Any, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()

    assert defaults("tutorial-hello-world", "hello_world") is None
    assert capsys.readouterr().out == "airflow\n"


@pytest.mark.parametrize(("dag_id", "prefix"), [("tutorial-dependency", ""), ("tutorial-main", "main_")])
def test_sentence_grows_from_task_to_task(
    defaults: Any, capsys: pytest.CaptureFixture[str], dag_id: str, prefix: str
) -> None:
    capsys.readouterr()
    initial = defaults(dag_id, f"{prefix}setup")
    partial = defaults(dag_id, f"{prefix}preprocess", initial)
    defaults(dag_id, f"{prefix}utilizer", partial)

    assert (initial, partial) == ("user-example-com used test", "user-example-com used test and said hello")
    assert capsys.readouterr().out == "user-example-com used test and said hello to airflow\n"


@pytest.mark.parametrize("n", PARCELS)
def test_sub_dag_adds_itself_and_its_parcel(defaults: Any, capsys: pytest.CaptureFixture[str], n: int) -> None:
    package, target = PARCELS[n]
    capsys.readouterr()
    for form in ({}, {"message": "hello", "package": package, "target": target}):
        sentence = defaults(f"tutorial-sub-{n}", "sub_setup", **form)
        sentence = defaults(f"tutorial-sub-{n}", "sub_preprocess", sentence, **form)
        defaults(f"tutorial-sub-{n}", "sub_utilizer", sentence, **form)

    assert capsys.readouterr().out.splitlines() == [
        f"none to sub-{n} that had none to none",
        f"hello to sub-{n} that had {package} to {target}",
    ]


@pytest.mark.parametrize("n", PARCELS)
def test_main_hands_the_sentence_and_a_parcel_to_each_sub_dag(dags: dict[str, DAG], n: int) -> None:
    dag = dags["tutorial-main"]
    task = dag.task_dict[f"trigger_sub_{n}"]

    message = task.conf.pop("message")
    assert (message.operator.task_id, message.key) == ("main_preprocess", "return_value")
    assert task.conf == dict(zip(("package", "target"), PARCELS[n], strict=True))
    assert task.trigger_dag_id == f"tutorial-sub-{n}"
    assert (task.wait_for_completion, task.poke_interval, task.reset_dag_run) == (False, 20, True)


def test_classic_twin_has_the_same_form_and_arrows(dags: dict[str, DAG]) -> None:
    twin, dag = dags["tutorial-dependency-classic"], dags["tutorial-dependency"]

    def arrows(of: DAG) -> set[tuple[str, str]]:
        return {(task.task_id, after) for task in of.tasks for after in task.downstream_task_ids}

    assert (arrows(twin), twin.params.dump()) == (arrows(dag), dag.params.dump())
    assert {type(task).__name__ for task in twin.tasks} == {"PythonOperator"}


@pytest.mark.parametrize(
    ("user", "formatted"),
    [("user@example.com", "user-example-com"), ("Jane.Doe", "-ane-oe"), ("a--b__c", "a-b-c"), ("x9", "x9")],
)
def test_user_becomes_one_word(user: str, formatted: str) -> None:
    assert set_formatted_user(user) == formatted


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_tutorial_shows_the_wiring_last(path: Any) -> None:
    """Who reads from top to bottom sees what runs after what in the end."""
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]

    assert isinstance(last, ast.With)
    assert isinstance(last.body[-1], ast.Expr)
