"""Every shipped DAG: sound, quick to read, reaching out to nothing, with its page and a form that explains itself."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from scripts.settings import SHIPPED_FOLDERS
from tests.dags.check_support import ROOT, check

DAGS = ROOT / "dags"
FILES = sorted(
    path for folder in SHIPPED_FOLDERS for path in (DAGS / folder).rglob("*.py") if "__pycache__" not in path.parts
)
HEADINGS = ["What it does", "Needs", "Parameters", "Try it", "Result"]
# The folder's name without its plural begins the id of each DAG in it, and is its first tag.
FAMILIES = {folder: folder.removesuffix("s") if folder != "kubernetes" else folder for folder in SHIPPED_FOLDERS}
TUTORIAL = [
    "tutorial-dependency",
    "tutorial-hello-world",
    "tutorial-interaction",
    "tutorial-main",
    "tutorial-sub-1",
    "tutorial-sub-2",
    "tutorial-sub-3",
]
# They run what a form says, or copy whatever the platform's account may read and write.
FOR_ADMIN_AND_OP = re.compile(
    r".*-run-one-job(-command)?|platform-(command|transfer)|hpc-(staged-pipeline|container-job)"
)
SLOWEST = 10.0  # seconds; Airflow gives up after 30, and a machine for tests is busy

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    """What `make test-dags` finds in the whole library."""
    own = [path.name for path in DAGS.iterdir() if path.is_dir() and path.name not in (*SHIPPED_FOLDERS, "functions")]
    return {report["file"]: report for report in check(DAGS, hidden=tuple(own))}


@pytest.fixture(scope="module")
def dags() -> dict[Path, DAG]:
    """The DAG of each file."""
    found = {}
    for path in FILES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bag = DagBag(str(path))
        assert (bag.import_errors, len(bag.dags)) == ({}, 1), path
        found[path] = next(iter(bag.dags.values()))
    return found


def family(path: Path) -> str:
    return FAMILIES[path.relative_to(DAGS).parts[0]]


def sections(dag: DAG) -> dict[str, str]:
    """Return the page of a DAG, cut at its headings; the part before the first has the name ''."""
    parts = re.split(r"^## (.+)\n", inspect.cleandoc(dag.doc_md or ""), flags=re.MULTILINE)
    return {"": parts[0].strip(), **{name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}}


def test_there_are_dag_files() -> None:
    assert len(FILES) >= 8


def test_parse_times_are_shown_slowest_first(reports: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    times = sorted(((report["seconds"], file) for file, report in reports.items()), reverse=True)

    with capsys.disabled():
        print("\nseconds to read each DAG file, nothing to reach:")
        for seconds, file in times:
            print(f"{seconds:6.2f}  {Path(file).relative_to(DAGS)}")
    assert times[0][0] < SLOWEST


@each_file
def test_file_is_sound_and_reaches_out_to_nothing(path: Path, reports: dict[str, Any]) -> None:
    report = reports[str(path)]

    assert (report["problems"], len(report["dags"])) == ([], 1)


def test_helpers_are_not_read_as_dags(reports: dict[str, Any]) -> None:
    assert [file for file in reports if "functions" in Path(file).parts] == []


@each_file
def test_file_uses_nothing_that_is_going_away(path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        DagBag(str(path))

    assert [str(one.message) for one in caught if str(path) in f"{one.filename} {one.message}"] == []


@each_file
def test_id_and_tags_come_from_folder_and_file(path: Path, dags: dict[Path, DAG]) -> None:
    dag = dags[path]

    if family(path) == "tutorial":
        assert dag.dag_id.startswith("tutorial-")
    else:
        name = path.stem.removesuffix("_dag").replace("_", "-")
        assert (path.name.endswith("_dag.py"), dag.dag_id) == (True, f"{family(path)}-{name}")
    expected = {"integration"} if dag.dag_id in TUTORIAL else {family(path)}
    assert expected <= dag.tags
    assert ("integration" in dag.tags) == (dag.dag_id in TUTORIAL)


def test_seven_dags_carry_the_tag_integration_and_no_other(dags: dict[Path, DAG]) -> None:
    tagged = sorted(dag.dag_id for dag in dags.values() if dag.tags == {"integration"})

    assert tagged == TUTORIAL


@each_file
def test_docstring_is_the_page_of_the_dag(path: Path, dags: dict[Path, DAG]) -> None:
    dag = dags[path]
    page = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    parts = sections(dag)
    assert inspect.cleandoc(dag.doc_md or "") == page
    assert list(parts) == ["", *HEADINGS]
    assert [name for name, text in parts.items() if not text] == []
    assert (dag.description, parts[""][-1]) == (page.splitlines()[0], ".")


@each_file
def test_page_shows_the_command_that_starts_the_dag(path: Path, dags: dict[Path, DAG]) -> None:
    dag = dags[path]

    assert re.search(rf"make trigger DAG={re.escape(dag.dag_id)}(?![\w-])", sections(dag)["Try it"])


@each_file
def test_page_names_each_parameter_and_no_other(path: Path, dags: dict[Path, DAG]) -> None:
    dag = dags[path]
    text = sections(dag)["Parameters"]
    titles = {dag.params.get_param(name).schema["title"]: name for name in dag.params}

    # As the command line knows it, `name`, or as the form shows it, **Title**.
    heads = " ".join(re.findall(r"^- (.*?):", text, flags=re.MULTILINE))
    by_name, by_title = re.findall(r"`([^`]+)`", heads), re.findall(r"\*\*([^*]+)\*\*", heads)
    assert sorted([*by_name, *(titles[title] for title in by_title)]) == sorted(dag.params)
    assert dag.params or not heads


@each_file
def test_each_parameter_has_type_title_and_description(path: Path, dags: dict[Path, DAG]) -> None:
    params = {name: dags[path].params.get_param(name) for name in dags[path].params}

    lacking = {
        name: [word for word in ("type", "title") if word not in param.schema] + ([] if param.description else ["text"])
        for name, param in params.items()
    }
    assert {name: words for name, words in lacking.items() if words} == {}


@each_file
def test_dag_starts_only_when_it_is_told_to_or_has_a_plan(path: Path, dags: dict[Path, DAG]) -> None:
    dag = dags[path]

    assert (dag.catchup, dag.is_paused_upon_creation) == (False, False)
    assert dag.schedule is not None or dag.start_date is None


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name == "templates"], ids=lambda path: path.stem
)
def test_template_fails_on_purpose(path: Path, dags: dict[Path, DAG]) -> None:
    param = dags[path].params.get_param("fail")

    assert (param.schema["type"], param.schema["title"], param.value) == ("boolean", "Fail on purpose", False)


@each_file
def test_dag_that_runs_what_a_form_says_is_for_admin_and_op(path: Path, dags: dict[Path, DAG]) -> None:
    from windrose.access import ADMIN_AND_OP

    dag = dags[path]

    assert bool(FOR_ADMIN_AND_OP.fullmatch(dag.dag_id)) == bool(dag.access_control)
    assert (
        not dag.access_control
        or dag.access_control == DAG("other", schedule=None, access_control=ADMIN_AND_OP).access_control
    )
