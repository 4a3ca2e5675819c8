"""What are the tiers of tests, what does each need, and what came of it?"""

from __future__ import annotations

import difflib
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.engine_check import check_engine
from scripts.errors import UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier: what it needs in words, and the question whether that is here ('' is yes)."""

    name: str
    needs: str
    missing: Callable[[dict[str, str]], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one tier."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: tuple[str, ...] = field(default=())  # why what was skipped was skipped


def nothing_missing(environment: dict[str, str]) -> str:
    """Need nothing but the tools."""
    return ""


def linux_missing(environment: dict[str, str]) -> str:
    """Need the kernel's own list of processes."""
    return "" if Path("/proc/self/stat").exists() else "no Linux"


def engine_missing(environment: dict[str, str]) -> str:
    """Need an engine with a recent Compose and Buildx."""
    return ", ".join(check_engine().missing)


def browser_missing(environment: dict[str, str]) -> str:
    """Need an engine and a Chromium."""
    return engine_missing(environment) or ("" if find_browser(environment) else "no chromium on PATH")


def find_browser(environment: dict[str, str]) -> str:
    """Return the Chromium to drive: CHROMIUM, or the first on PATH; '' where there is none."""
    named = [environment["CHROMIUM"]] if environment.get("CHROMIUM") else BROWSERS
    return next((path for name in named if (path := shutil.which(name))), "")


TIERS = (
    Tier("lint", "the tools of tests/requirements.txt", nothing_missing),
    Tier("unit", "the tools of tests/requirements.txt", nothing_missing),
    Tier("dags", "Airflow in .venv-airflow", nothing_missing),
    Tier("embedded", "Airflow in .venv-airflow, no Docker", linux_missing),
    Tier("hpc", "Airflow in .venv-airflow, and a Docker Engine with Compose and Buildx", engine_missing),
    Tier("image", "a Docker Engine with Compose and Buildx", engine_missing),
    Tier("stack", "a Docker Engine with Compose and Buildx", engine_missing),
    Tier("browser", "a Docker Engine with Compose and Buildx, and chromium", browser_missing),
)


def choose(words: str) -> list[Tier]:
    """Return the tiers that TIER names, in their order; all where it is empty."""
    names = [tier.name for tier in TIERS]
    chosen = [word for word in words.replace(",", " ").split() if word != "all"]
    for word in chosen:
        if word not in names:
            near = difflib.get_close_matches(word, names, n=1)
            fix = f"did you mean {near[0]}?" if near else f"take some of {','.join(names)}"
            raise UsageError("make test", f"TIER={word} is no tier", fix)
    return [tier for tier in TIERS if tier.name in chosen or not chosen]


def is_required(name: str, words: str) -> bool:
    """Say whether WINDROSE_REQUIRE_TIERS makes a missing requirement of this tier a failure."""
    named = words.replace(",", " ").split()
    return "all" in named or name in named


def read_junit(path: Path, tier: str) -> Outcome:
    """Read what pytest wrote: how many passed, failed, were skipped and why."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
    passed = failed = 0
    reasons = []
    for case in root.iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skip is not None:
            reasons.append(f"{tier}: {case.get('name', '?')} — {skip_reason(skip)}")
        else:
            passed += 1
    return Outcome(tier, passed, failed, len(reasons), reasons=tuple(reasons))


def skip_reason(skip: ElementTree.Element) -> str:
    """Return why a test, or a whole module, was skipped."""
    of_module = re.search(r"Skipped: (.*?)['\"]\)\s*$", skip.text or "")
    if skip.get("message") == "collection skipped" and of_module:
        return of_module[1]
    return skip.get("message") or "no reason given"


def closing_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the last lines: every reason for what was skipped, then the sum alone on its line."""
    reasons = [f"skipped: {reason}" for outcome in outcomes for reason in outcome.reasons]
    passed, failed, skipped = (
        sum(getattr(outcome, word) for outcome in outcomes) for word in ("passed", "failed", "skipped")
    )
    return [*reasons, f"{passed} passed, {failed} failed, {skipped} skipped"]
