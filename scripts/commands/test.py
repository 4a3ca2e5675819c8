"""`make test`: every tier of tests that this machine can run, and the reason for each that it cannot."""

from __future__ import annotations

import dataclasses
import sys
import time

from scripts.airflow_venv import ensure_airflow_venv
from scripts.commands.lint import lint
from scripts.console import progress, say, table
from scripts.developer_tools import ensure_tools, pinned
from scripts.errors import ExitCode, KitError
from scripts.process import stream
from scripts.settings import ARGUMENTS, ROOT, STATE, arguments, environment
from scripts.tiers import Outcome, Tier, choose, closing_lines, find_browser, is_required, read_junit

FOLDER = STATE / "test"
NO_TESTS = 5  # pytest's exit code
# What make hands to us must not reach a make that a test starts.
NOT_FOR_TESTS = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", *ARGUMENTS)


def run() -> int:
    """Run the chosen tiers one after the other, whatever fails, and sum up."""
    chosen = choose(arguments()["TIER"])
    ensure_tools()
    FOLDER.mkdir(parents=True, exist_ok=True)
    outcomes = [run_tier(tier) for tier in chosen]
    rows = [
        [outcome.tier, *(str(n) for n in (outcome.passed, outcome.failed, outcome.skipped)), f"{outcome.seconds:.1f}"]
        for outcome in outcomes
    ]
    say()
    table(["tier", "passed", "failed", "skipped", "seconds"], rows)
    sys.stderr.flush()
    for line in closing_lines(outcomes):
        say(line)
    return ExitCode.PROBLEM if any(outcome.failed for outcome in outcomes) else ExitCode.DONE


def run_tier(tier: Tier) -> Outcome:
    """Run one tier, or say why it cannot run."""
    say(f"\n== {tier.name} (needs {tier.needs})")
    start = time.monotonic()
    try:
        reason = tier.missing(environment())
        outcome = run_lint() if tier.name == "lint" else run_pytest(tier) if not reason else not_run(tier, reason)
    except KitError as error:
        outcome = not_run(tier, str(error))
    return dataclasses.replace(outcome, tier=tier.name, seconds=time.monotonic() - start)


def not_run(tier: Tier, reason: str) -> Outcome:
    """Skip a tier with its reason, or fail it where it is required."""
    if is_required(tier.name, environment().get("WINDROSE_REQUIRE_TIERS", "")):
        progress(f"{tier.name} is required, but {reason}")
        return Outcome(tier.name, failed=1)
    return Outcome(tier.name, skipped=1, reasons=(f"{tier.name} — {reason}",))


def run_lint() -> Outcome:
    """Run the linters; each counts as one test."""
    if is_required("lint", environment().get("WINDROSE_REQUIRE_TIERS", "")):
        ensure_airflow_venv()
    findings = lint()
    states = [finding.state for finding in findings]
    reasons = tuple(f"lint: {one.check.name} — {one.check.left_out}" for one in findings if one.state == "skipped")
    return Outcome("lint", states.count("passed"), states.count("failed"), len(reasons), reasons=reasons)


def run_pytest(tier: Tier) -> Outcome:
    """Run one tier's folder with pytest, its output as it comes."""
    python = python_of(tier)
    report = FOLDER / f"{tier.name}.xml"
    report.unlink(missing_ok=True)
    argv = [python, "-m", "pytest", "-c", "tests/pytest.ini", f"--junit-xml={report}", f"tests/{tier.name}"]
    expression = arguments()["K"]
    if expression:
        argv.append(f"-k{expression}")
    code = stream(argv, on_line=say, environment=test_environment(), folder=ROOT)
    outcome = read_junit(report, tier.name) if report.exists() else Outcome(tier.name)
    if outcome.passed + outcome.failed + outcome.skipped == 0:
        if code == NO_TESTS and expression:
            return Outcome(tier.name, reasons=(f"{tier.name} — no test matches K={expression}",))
        progress(f"{tier.name}: ran no test (pytest ended with code {code})")
        return Outcome(tier.name, failed=1)
    return dataclasses.replace(outcome, failed=outcome.failed or int(code not in (0, NO_TESTS)))


def python_of(tier: Tier) -> str:
    """Return the Python that runs a tier; three of them need Airflow on this machine."""
    if tier.name in ("dags", "hpc"):
        return str(ensure_airflow_venv([pinned("pytest")]))
    if tier.name == "embedded":
        ensure_airflow_venv()
    return sys.executable


def test_environment() -> dict[str, str]:
    """Return the environment of the tests: ours, without what make gave us, with the browser that was found."""
    kept = {name: value for name, value in environment().items() if name not in NOT_FOR_TESTS}
    return {**kept, "PYTHONUNBUFFERED": "1", "CHROMIUM": find_browser(kept)}
