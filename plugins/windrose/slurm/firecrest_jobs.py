"""What do FirecREST's words about jobs mean: a listing, and an error of sbatch?"""

from __future__ import annotations

import random
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from windrose.slurm.firecrest_client import Failed
from windrose.slurm.model import NAME_PREFIX, Asked, Facts

Row = Mapping[str, Any]

TOKEN = re.compile(rf"{re.escape(NAME_PREFIX)}.*\.([a-z2-7]{{20}})")
ELEMENTS = re.compile(r"\d+_\[([0-9,-]+)(%\d+)?\]")
# Slurm's words for the end of a job, those first that tell most of an array; any other word is no end.
ENDED = (
    "OUT_OF_MEMORY",
    "TIMEOUT",
    "FAILED",
    "LAUNCH_FAILED",
    "RECONFIG_FAIL",
    "BOOT_FAIL",
    "NODE_FAIL",
    "DEADLINE",
    "PREEMPTED",
    "REVOKED",
    "CANCELLED",
    "COMPLETED",
)
WAITING = ("PENDING", "CONFIGURING", "RESV_DEL_HOLD", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
# An sbatch that says one of these may have been heard, or may be heard next time.
PASSING = re.compile(
    r"timed out|unable to contact|communication|connection|zero bytes|transport endpoint|temporarily|try again|standby|"
    r"rate limit|retrying|broken pipe|(?:send|receive) failure|(?:unexpected|insane) message|incompatible versions|"
    r"no route|unreachable|unspecified|munge|authentication error|protocol|interrupted|credential|dns",
    re.IGNORECASE,
)
CHDIR = re.compile(r"^#SBATCH\s+(?:--chdir[= ]|-D\s*)(.+)$", re.MULTILINE)
REFUSAL = re.compile(r"exit_status:[1-9]\d* std_err:(.*sbatch: (?:error|fatal):.*)", re.DOTALL)


def token_of(row: Row) -> str:
    """Return the token in a job's name, '' for a job that is none of ours."""
    found = TOKEN.fullmatch(str(row.get("name") or ""))
    return found[1] if found else ""


def by_token(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each job of ours; an array has several."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if token := token_of(row):
            found[token].append(row)
    return dict(found)


def id_of(rows: Sequence[Row]) -> str:
    """Return the id of a job: of an array, the one before the underscore, which its first rows may not show."""
    ids = [str(row.get("jobId") or "") for row in rows]
    of_array = [each.partition("_")[0] for each in ids if "_" in each]
    return (of_array or sorted(ids, key=lambda each: (len(each), each)) or [""])[0]


def state_of(row: Row) -> str:
    """Return the first word of a job's state; newer servers give several in a list."""
    said = (row.get("status") or {}).get("state") or ""
    first = said[0] if isinstance(said, list) and said else said
    return str(first or "").split(" ")[0].split(",")[0].rstrip("+").upper()


def facts_of(rows: Sequence[Row]) -> Facts | None:
    """Return what is known of a job, of an array about all its elements."""
    elements = [row for row in rows if "_" in str(row.get("jobId"))] or list(rows)
    if not elements:
        return None
    is_array = len(elements) > 1 or "_" in str(elements[0].get("jobId"))
    row = worst(elements)
    facts = facts_of_row(row)
    if not is_array:
        return facts
    counts: Counter[str] = Counter()
    for element in elements:
        counts[state_of(element)] += elements_in(str(element.get("jobId")))
    return Facts(
        state=facts.state,
        reason=facts.reason,
        by=facts.by,
        code=facts.code,
        signal=facts.signal,
        seconds=max(number((each.get("time") or {}).get("elapsed")) for each in elements),
        nodes=facts.nodes,
        source=facts.source,
        elements=dict(counts),
    )


def worst(rows: Sequence[Row]) -> Row:
    """Return the element that speaks for an array: one that is not at its end, else the one that ended worst."""

    def rank(row: Row) -> tuple[int, int, int]:
        state = state_of(row)
        if state in ENDED:
            return 2, ENDED.index(state), -number((row.get("status") or {}).get("exitCode"))
        return (1, 0, 0) if state in WAITING else (0, 0, 0)

    return min(rows, key=rank)


def facts_of_row(row: Row) -> Facts:
    """Return what one row says."""
    status, times = row.get("status") or {}, row.get("time") or {}
    said = str(status.get("state") or "")
    state = state_of(row)
    by = re.search(r"\bby (\S+)", said)
    reason, nodes = str(status.get("stateReason") or ""), str(row.get("nodes") or "")
    return Facts(
        state=state,
        reason="" if reason in ("None", "NULL") else reason,
        by=str(row.get("killRequestUser") or (by[1] if by else "")),
        code=number(status.get("exitCode")),
        signal=number(status.get("interruptSignal")),
        seconds=number(times.get("elapsed")),
        nodes="" if nodes.startswith(("None", "(null)")) else nodes,
        source="accounting" if state in ENDED else "queue",
    )


def elements_in(job_id: str) -> int:
    """Return how many elements of an array a row stands for: 7_[3-5,9%2] are four."""
    found = ELEMENTS.fullmatch(job_id)
    if not found:
        return 1
    count = 0
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def number(value: object) -> int:
    """Return a number that may be missing."""
    return value if isinstance(value, int) else 0


def is_ended(row: Row) -> bool:
    """Say whether a row tells of an end."""
    return state_of(row) in ENDED


def chdir_of(script: str) -> str:
    """Return the folder that a batch script asks to begin in, '' where it does not: the API wants to be told."""
    found = CHDIR.search(script)
    words = shlex.split(found[1], comments=True) if found else []
    return words[0] if words and words[0].startswith("/") else ""


def refusal_in(error: Failed) -> str:
    """Return why sbatch turned a job down, '' where it may have taken it."""
    if error.status == 403 or error.status == 400:
        return error.says
    found = REFUSAL.search(error.says) if error.status == 500 else None
    if found is None or PASSING.search(found[1]):
        return ""
    parts = (" ".join(part.split()) for part in re.split(r"sbatch: (?:error|fatal): ", found[1]))
    return "; ".join(part for part in parts if part)


def in_turn(asked: Sequence[Asked], facts: Mapping[str, Facts | None], most: int) -> list[Asked]:
    """Return whose files are read this time: those first that have ended, the others by lot."""
    ended = [each for each in asked if (one := facts[each.token]) is None or one.state in ENDED]
    others = [each for each in asked if (one := facts[each.token]) is not None and one.state not in ENDED]
    mixed = random.sample(ended, len(ended)) + random.sample(others, len(others))
    return mixed[:most]
