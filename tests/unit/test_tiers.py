"""Choosing tiers, reading what pytest wrote, and the closing lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import tiers
from scripts.commands import lint
from scripts.errors import UsageError
from scripts.tiers import Outcome


def test_tiers_run_in_their_order_whatever_was_typed() -> None:
    assert [tier.name for tier in tiers.choose("dags, unit")] == ["unit", "dags"]
    assert [tier.name for tier in tiers.choose("")] == [
        *("lint", "unit", "dags", "embedded", "hpc", "image", "stack", "browser"),
    ]


def test_a_mistyped_tier_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as raised:
        tiers.choose("unti")

    assert str(raised.value) == "make test: TIER=unti is no tier; did you mean unit?."


def test_required_tiers_are_read() -> None:
    assert tiers.is_required("stack", "all")
    assert tiers.is_required("stack", "unit,stack")
    assert not tiers.is_required("stack", "")


def test_junit_report_is_read(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(
        "<testsuites><testsuite>"
        "<testcase name='a'/><testcase name='b'><failure message='x'/></testcase>"
        "<testcase name='c'><error message='x'/></testcase>"
        "<testcase name='d'><skipped message='no sshd'/></testcase>"
        "<testcase name='e'><skipped message='collection skipped'>('/x/test_e.py', 3, 'Skipped: no sshd')</skipped>"
        "</testcase></testsuite></testsuites>"
    )

    assert tiers.read_junit(report, "unit") == Outcome(
        "unit", 1, 2, 2, reasons=("unit: d — no sshd", "unit: e — no sshd")
    )


def test_closing_lines_end_with_the_sum() -> None:
    outcomes = [
        Outcome("unit", 7, 1, 1, reasons=("unit: test_d — no sshd",)),
        Outcome("stack", skipped=1, reasons=("stack — no Docker Engine answers",)),
    ]

    assert tiers.closing_lines(outcomes) == [
        "skipped: unit: test_d — no sshd",
        "skipped: stack — no Docker Engine answers",
        "7 passed, 1 failed, 2 skipped",
    ]


def test_each_file_goes_to_its_linter() -> None:
    paths = [Path(name) for name in ("scripts/a.py", "scripts/in_airflow/b.py", "plugins/windrose/c.py", "dags/d.py")]
    others = [Path("Dockerfile"), Path("x.yaml"), Path(".ci/run")]

    words = {check.name: check.argv for check in lint.checks([*paths, *others])}

    assert words["ruff check"][-4:] == tuple(map(str, paths))
    assert words["mypy"][-1:] == ("scripts/a.py",)
    assert words["mypy in Airflow"][-2:] == ("scripts/in_airflow/b.py", "plugins/windrose/c.py")
    assert words["hadolint"][-1] == "Dockerfile"
    assert words["shellcheck"][-1] == ".ci/run"
    assert words["yamllint"][-1] == "x.yaml"
