from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.commands import schema
from scripts.platforms.yaml_reader import parse, read
from scripts.settings import ROOT
from tests.secrets_file_support import load_text, told_of

EXAMPLE = (ROOT / "secrets.example.yaml").read_text(encoding="utf-8")
FILLED = {"client_secret_file": "secret", "password_command": "echo hunter2", "file": "key"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RESULTS_PASSWORD", raising=False)


def places(tree: object, *above: str) -> list[str]:
    """Return the dotted name of each value that is left to fill in."""
    if isinstance(tree, dict):
        return [place for key, value in tree.items() for place in places(value, *above, key)]
    return [".".join(above)] if "(fill)" in str(tree) or "${" in str(tree) else []


def test_example_left_as_it_is_is_refused_by_the_name_of_each_value(tmp_path: Path) -> None:
    told = told_of(tmp_path, EXAMPLE)

    left = places(read(ROOT / "secrets.example.yaml").data)
    assert len(left) > 20
    assert sorted(re.findall(r"^secrets\.yaml line \d+: (\S+) (?:is not filled in|names \$)", told, re.M)) == sorted(
        left
    )
    assert len(told.splitlines()) == len(left)


def test_example_filled_in_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_PASSWORD", "hunter2")
    (tmp_path / "secret").write_text("hunter2", encoding="utf-8")
    filled = EXAMPLE.replace("file: '(fill)', ", "")
    for key, value in FILLED.items():
        filled = re.sub(rf"\b{key}: '?\(fill\)'?", f"{key}: {value}", filled)
    for number in range(filled.count("(fill)")):
        filled = filled.replace("(fill)", f"value-{number}", 1)

    plan = load_text(tmp_path, filled)

    assert sorted(plan.connections) == [
        "chat",
        "cloud-cpouta-1",
        "cloud-database-1",
        "data-allas",
        "data-images",
        "hpc-lumi",
        "hpc-lumi-api",
        "hpc-mahti",
        "hpc-puhti",
        "hpc-roihu",
        "my_postgres",
    ]


def test_example_names_what_each_closed_machine_still_serves() -> None:
    above = EXAMPLE[: EXAMPLE.index("puhti: {")].splitlines()[-5:]

    assert [
        date for date in ("31 July 2026", "31 August 2026", "15 October 2026") if date not in "\n".join(above)
    ] == []


def test_editor_finds_the_schema_where_the_command_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schema.settings, "ROOT", tmp_path)
    monkeypatch.setattr(schema, "FILE", tmp_path / schema.FILE.relative_to(ROOT))

    schema.run()

    named = EXAMPLE.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert parse((tmp_path / named).read_bytes(), named).typed(("title",)) == "secrets.yaml"
    assert capsys.readouterr().out == (
        f"wrote {named}; an editor with YAML support takes it from the first line of secrets.yaml\n"
    )
