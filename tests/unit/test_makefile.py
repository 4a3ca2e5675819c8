"""The front door: what a person types reaches Python byte for byte, and `make` alone tells what there is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.settings import ROOT

AWKS = [path for name in ("mawk", "gawk", "original-awk", "busybox") if (path := shutil.which(name))]
VALUES = {
    "spaces": "two words  and three",
    "space after": "after ",  # make itself drops blanks before a word's value
    "single quote": "it's",
    "double quote": 'say "this"',
    "dollar": "$HOME ${HOME} $$ $",
    "make function": "$(shell touch broken-in) $(error stop)",
    "command substitution": "`touch broken-in`",
    "semicolon": "a; touch broken-in",
    "backslash": "a\\b \\n c\\",
    "newline": "one\ntwo",
    "hash": "a # b",
    "non-ASCII": "späße — 日本",
    "leading dash": "--no-such-option -x",
    "percent and equals": "a%b=c:=d",
    "empty": "",
}


@pytest.fixture
def front_door(tmp_path: Path) -> Path:
    """A folder with the real Makefile, whose Python prints what it was given."""
    for name in ("scripts/requirements.txt", "scripts/make_venv.py", ".venv/bin/python", ".venv/ready"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / ".venv/bin/python"
    program = "import json, os, sys\njson.dump({'argv': sys.argv[1:], 'environment': dict(os.environ)}, sys.stdout)\n"
    python.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("given_as", ["word", "environment"])
def test_argument_reaches_python_unchanged(
    front_door: Path, run_make: Callable[..., Any], value: str, given_as: str
) -> None:
    words = ["SERVICE=" + value] if given_as == "word" else []
    env = {"SERVICE": value} if given_as == "environment" else {}

    done = run_make(front_door, "logs", *words, env=env)

    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert (seen["argv"], seen["environment"]["SERVICE"]) == (["-m", "scripts", "logs"], value)
    assert not (front_door / "broken-in").exists()


def test_no_argument_is_an_empty_one(front_door: Path, run_make: Callable[..., Any]) -> None:
    seen = json.loads(run_make(front_door, "clean").stdout)["environment"]

    assert {name: seen[name] for name in ("SERVICE", "CONFIRM", "TIER")} == {"SERVICE": "", "CONFIRM": "", "TIER": ""}


@pytest.mark.parametrize("awk", AWKS, ids=lambda path: Path(path).name)
def test_make_alone_lists_commands_in_groups(front_door: Path, run_make: Callable[..., Any], awk: str) -> None:
    shim = front_door / "bin" / "awk"
    shim.parent.mkdir()
    words = f"{awk} awk" if Path(awk).name == "busybox" else awk
    shim.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    shim.chmod(0o755)

    done = run_make(front_door, env={"PATH": f"{shim.parent}:/usr/bin:/bin"})

    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    expected = re.findall(r"^##@ (.*)$|^([a-z][a-z-]*):.*## (.*)$", text, flags=re.MULTILINE)
    lines = [group or f"  {target:<15} {help}" for group, target, help in expected]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line] == lines
    assert len(lines) > 15
    assert max(map(len, lines)) <= 80


def test_the_list_needs_an_awk_to_be_tried() -> None:
    assert AWKS
