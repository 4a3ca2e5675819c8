"""Rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scripts import tree
from scripts.__main__ import command_names
from scripts.settings import ROOT

VISIBLE = set(
    "docker-compose.yaml Dockerfile packages.txt constraints.txt dags plugins config scripts images docs benchmarks "
    "secrets.example.yaml tests Makefile README.md LICENSE CHANGELOG.md".split()
)
HIDDEN = set(
    ".ci .env.example .gitignore .gitattributes .dockerignore .editorconfig "
    ".ruff.toml .mypy.ini .yamllint .hadolint.yaml".split()
)
FILES = tree.files()
PYTHON = [path for path in FILES if path.suffix == ".py"]
MODULE_LINES, FUNCTION_LINES = 400, 50
# Written in pieces, so that this file keeps its own rule.
REGISTRIES = [
    ".".join(pieces)
    for pieces in (
        ("ghcr", "io"),
        ("quay", "io"),
        ("gcr", "io"),
        ("k8s", "io/"),
        ("public", "ecr", "aws"),
        ("mcr", "microsoft", "com"),
        ("hub", "docker", "com"),
        ("registry-1", "docker", "io"),
        ("docker", "io/"),
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
]
# The user of a fresh virtual machine is the default of a tutorial DAG.
MACHINE_PATHS = [
    re.compile("/wor" + r"k/\w"),
    re.compile("/hom" + r"e/(?!(airflow|ubuntu)\b)\w"),
    re.compile("/Use" + r"rs/\w"),
]


def text_of(path: Path) -> str:
    """Return a file's text, '' where it is none."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_top_level_holds_only_what_belongs_there() -> None:
    found = {path.parts[0] for path in FILES}

    assert len(FILES) > 20
    assert found - VISIBLE - HIDDEN == set()


def test_every_target_has_its_command_module() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):.*## ", text_of(Path("Makefile")), flags=re.MULTILINE)

    assert sorted(name.replace("-", "_") for name in targets if name != "help") == command_names()


def test_no_file_names_a_registry_or_a_machine_path() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path in FILES
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if any(name in line for name in REGISTRIES) or any(pattern.search(line) for pattern in MACHINE_PATHS)
    ]

    assert found == []


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_modules_and_functions_stay_short(path: Path) -> None:
    text = text_of(path)

    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{node.name}: {lines}" for node in functions if (lines := body_lines(node)) > FUNCTION_LINES]

    assert (len(text.splitlines()) <= MODULE_LINES, long) == (True, [])


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function's body has, its docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0


def test_no_module_name_occurs_in_two_places_of_the_path() -> None:
    names: list[str] = []
    for folder in (ROOT, ROOT / "plugins", ROOT / "dags"):
        inside = {(ROOT / path).relative_to(folder).parts[0] for path in PYTHON if folder in (ROOT / path).parents}
        names += [name.removesuffix(".py") for name in inside]

    assert sorted(names) == sorted(set(names))
