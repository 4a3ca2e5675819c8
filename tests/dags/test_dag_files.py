"""Every shipped DAG file, parsed by the installed Airflow as the DAG processor would."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(path for path in DAGS.rglob("*_dag.py") if "functions" not in path.parts)
HEADINGS = ("What it does", "Needs", "Parameters", "Result")


@pytest.fixture
def no_side_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a DAG file must not reach out while it is parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_there_are_dag_files() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_holds_one_dag_and_reaches_out_to_nothing(path: Path, no_side_effects: None) -> None:
    bag = DagBag(str(path))

    assert (bag.import_errors, len(bag.dags)) == ({}, 1)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_is_the_page_of_the_dag(path: Path) -> None:
    page = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE)[: len(HEADINGS)] == list(HEADINGS)


def test_whole_folder_is_parsed_without_the_helpers() -> None:
    bag = DagBag(str(DAGS))

    assert bag.import_errors == {}
    assert not [dag for dag in bag.dags.values() if "functions" in Path(dag.fileloc).parts]


def test_hello_world_prints_airflow(capsys: pytest.CaptureFixture[str]) -> None:
    dag = DagBag(str(DAGS / "tutorial" / "hello_world_dag.py")).dags["tutorial-hello-world"]
    capsys.readouterr()

    dag.task_dict["hello_world"].python_callable()

    assert capsys.readouterr().out == "airflow\n"
    assert (dag.tags, dag.is_paused_upon_creation) == ({"integration"}, False)
