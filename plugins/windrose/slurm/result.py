"""What a job that has ended is to its task: a result, or an error that a person can read."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windrose.slurm import states
from windrose.slurm.intent import Intent
from windrose.slurm.model import Facts, Record
from windrose.slurm.states import STATES, Kind

RETRY_STATES = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED")  # ends that say nothing of the job itself
LINES = 20  # of the job's errors, in the error that a person reads
LONGEST_LINE = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    is_good: bool
    may_retry: bool
    says: str
    facts: dict[str, Any]


def outcome_of(event: Mapping[str, Any], known: Intent, retry_states: Sequence[str]) -> Outcome:
    """Return how a job ended, from what its trigger has seen."""
    facts = Facts(**event["facts"]) if event.get("facts") else Facts()
    record = Record(**event["record"]) if event.get("record") else None
    is_late = event["ended"] == "deadline"
    verdict = verdict_of(event["ended"], facts, record)
    # A job that ended by itself before it could be cancelled did not run out of time.
    is_good = verdict.kind is Kind.WELL
    says = late(known, facts) if is_late and not is_good else verdict.says.rstrip(".")
    where = f", after {facts.seconds} s on {facts.nodes}" if facts.nodes and facts.seconds else ""
    lines = [f"{known.platform}: job {known.job_id} {says}{where}. Its output is in {known.folder}."]
    errors = tail(event, "err")[-LINES:]
    lines += ["The last lines of its errors:", *(line[:LONGEST_LINE] for line in errors)] if any(errors) else []
    return Outcome(
        is_good=is_good,
        may_retry=not is_late and verdict.word in retry_states,
        says="\n".join(lines).rstrip(),
        facts=facts_of(event, known, facts, verdict),
    )


def verdict_of(ended: str, facts: Facts, record: Record | None) -> states.Verdict:
    """Return what the trigger has found out; it fires only when that is certain, or when time is up."""
    if ended == "record" and record is not None:
        return states.recorded(record)
    state = STATES.get(facts.state)
    if state is not None and state.kind in (Kind.WELL, Kind.BADLY):
        return states.ended(facts, record)
    return states.Verdict(Kind.UNKNOWN, facts.state, f"is in the state {facts.state or 'unknown'}")


def late(known: Intent, facts: Facts) -> str:
    """Say of a job that it took too long."""
    state = STATES.get(facts.state)
    if state is not None and state.kind is Kind.BADLY:
        return "was cancelled, because the task's timeout was over"
    return f"went on after the task's timeout; whether it was cancelled is not known: ask `squeue --job={known.job_id}`"


def facts_of(event: Mapping[str, Any], known: Intent, facts: Facts, verdict: states.Verdict) -> dict[str, Any]:
    """Return what the task's result says of its job."""
    return {
        "job_id": known.job_id,
        "state": verdict.word or ("COMPLETED" if verdict.kind is Kind.WELL else "FAILED"),
        "exit_code": verdict.code,
        "signal": verdict.signal,
        "seconds": facts.seconds,
        "nodes": facts.nodes,
        "cpu_seconds": facts.cpu_seconds,
        "memory": facts.memory,
        "elements": dict(facts.elements),
        "platform": known.platform,
        "name": known.name,
        "folder": known.folder,
        "log": posixpath.join(known.folder, "out.*" if known.array else "out"),
        "result": last_words(tail(event, "out")),
    }


def tail(event: Mapping[str, Any], stream: str) -> list[str]:
    """Return the last lines of a stream."""
    return [str(line) for line in (event.get("tail") or {}).get(stream) or []]


def last_words(lines: Sequence[str]) -> Any:  # noqa: ANN401 - JSON
    """Return the last line of the output, as what it means where it is JSON; None where there is no output."""
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if not line:
        return None
    try:
        found = json.loads(line, parse_constant=str)  # NaN is no JSON, and no database would take it
        text = json.dumps(found, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        return line
    # Nor would it take this sign.
    return line if "\\u0000" in text else found
