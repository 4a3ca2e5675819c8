"""What Slurm's words mean: which state is an end, which end is good, and what a person can change after a bad one."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from windrose.slurm.model import Facts, Record, Seen
from windrose.slurm.reasons import explained, mend_of, never_starts

DETAIL_SECONDS = 20.0  # for accounting to tell what an ended job used
RECORD_SECONDS = 60.0  # for accounting to tell how a job ended, before its own exit record decides


class Kind(StrEnum):
    """What a state means for the task that waits."""

    WAITING = "waiting"
    RUNNING = "running"
    WELL = "ended well"
    BADLY = "ended badly"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class State:
    """A word of Slurm's published list."""

    kind: Kind
    says: str  # of a job in this state, as the rest of a sentence
    mend: str = ""  # what to change after a bad end
    seen: bool = False  # whether the tests have produced it on the demo cluster


NODE_MEND = "nothing is wrong with the job itself: a retry submits it again"
# https://slurm.schedmd.com/job_state_codes.html of 24.11, base states and flags; `seen` is kept true by the tests.
STATES: Mapping[str, State] = {
    "PENDING": State(Kind.WAITING, "waits in the queue", seen=True),
    "CONFIGURING": State(Kind.WAITING, "waits for its nodes to become ready"),
    "POWER_UP_NODE": State(Kind.WAITING, "waits for its nodes to be switched on"),
    "REQUEUED": State(Kind.WAITING, "was put back into the queue and starts again"),
    "REQUEUE_FED": State(Kind.WAITING, "was put back into the queue of a federation"),
    "REQUEUE_HOLD": State(Kind.WAITING, "was put back into the queue and is held there until somebody releases it"),
    "SPECIAL_EXIT": State(Kind.WAITING, "was put back and is held after a special exit, until somebody releases it"),
    "RESV_DEL_HOLD": State(Kind.WAITING, "is held because its reservation was deleted"),
    "RUNNING": State(Kind.RUNNING, "runs", seen=True),
    "SUSPENDED": State(Kind.RUNNING, "is suspended and goes on later", seen=True),
    "STOPPED": State(Kind.RUNNING, "is stopped and keeps its nodes"),
    "COMPLETING": State(Kind.RUNNING, "is ending", seen=True),
    "RESIZING": State(Kind.RUNNING, "changes its size"),
    "SIGNALING": State(Kind.RUNNING, "is sent a signal"),
    "STAGE_OUT": State(Kind.RUNNING, "copies its results out of a burst buffer"),
    "UPDATE_DB": State(Kind.RUNNING, "is written into accounting"),
    "COMPLETED": State(Kind.WELL, "ended well", seen=True),
    "FAILED": State(Kind.BADLY, "failed", seen=True),
    "TIMEOUT": State(
        Kind.BADLY, "was ended at its time limit", "give it more with `time=`, or let it do less", seen=True
    ),
    "OUT_OF_MEMORY": State(
        Kind.BADLY, "needed more memory than it had asked for", "ask for more with `memory=` or `memory_per_cpu=`"
    ),
    "CANCELLED": State(Kind.BADLY, "was cancelled", seen=True),
    "DEADLINE": State(
        Kind.BADLY, "could not be done before its deadline", "set a later --deadline, or a shorter `time=`", seen=True
    ),
    "NODE_FAIL": State(Kind.BADLY, "lost a node that it ran on", NODE_MEND, seen=True),
    "BOOT_FAIL": State(Kind.BADLY, "could not start because a node did not boot", NODE_MEND),
    "LAUNCH_FAILED": State(
        Kind.BADLY, "could not be launched on its nodes", "the site's support knows why; a retry may get other nodes"
    ),
    "RECONFIG_FAIL": State(Kind.BADLY, "ended because its nodes could not be configured", NODE_MEND),
    "PREEMPTED": State(
        Kind.BADLY,
        "had to give way to a job of higher priority",
        "let it be retried, or take a QOS that is not preempted",
        seen=True,
    ),
    "REVOKED": State(Kind.BADLY, "was revoked because another cluster of the federation runs it"),
}

# Slurm itself may put such a job back into the queue in the next moment, under the same id.
MAY_START_AGAIN = ("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "PREEMPTED", "REVOKED")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a job, as far as its task is concerned."""

    kind: Kind
    word: str = ""  # Slurm's state; '' where only the job's own record is known
    says: str = ""  # a sentence without the job's id in front: `failed with exit code 3.`
    code: int = 0
    signal: int = 0
    source: str = ""  # of an end: slurm or record
    never_starts: str = ""  # of a waiting job: why it cannot start, with what to change

    @property
    def is_end(self) -> bool:
        """Say whether the job has ended, with certainty."""
        return self.kind in (Kind.WELL, Kind.BADLY)


@dataclass(slots=True)
class History:
    """What was seen of a job before, kept by whoever looks at it."""

    gone_since: float | None = None  # when the queue did not know it as going on for the first time


def judge(seen: Seen, history: History, now: float) -> Verdict:
    """Say how it stands with a job; `now` is any clock that goes on evenly, and history is kept from look to look."""
    facts = seen.facts
    if facts is not None and facts.source == "queue" and not is_end(facts):
        history.gone_since = None
        return going(facts)
    if history.gone_since is None:
        history.gone_since = now
    # Where nobody keeps accounts there is nothing to wait for.
    waited = float("inf") if is_absent(seen.accounting) else now - history.gone_since
    if facts is not None and is_end(facts):
        return settled(seen, facts, waited)
    if seen.record is not None and waited >= RECORD_SECONDS:
        return recorded(seen.record)
    return unsettled(seen)


def is_end(facts: Facts) -> bool:
    """Say whether a state is one that a job does not leave, as a rule."""
    return facts.state in STATES and STATES[facts.state].kind in (Kind.WELL, Kind.BADLY)


def settled(seen: Seen, facts: Facts, waited: float) -> Verdict:
    """Return how a job ended, as soon as Slurm will not start it again and accounting had time to tell more."""
    if waited < DETAIL_SECONDS and facts.state in MAY_START_AGAIN:
        return Verdict(Kind.UNKNOWN, facts.state, "has ended; waiting whether Slurm starts it again.")
    if waited < DETAIL_SECONDS and facts.source != "accounting":
        return Verdict(Kind.UNKNOWN, facts.state, "has ended; waiting for accounting to tell how.")
    return ended(facts, seen.record)


def unsettled(seen: Seen) -> Verdict:
    """Return what can be said of a job that has left the queue, and of whose end nobody tells."""
    if seen.facts is None:
        why = "does not know it" if seen.accounting == "ok" else f"did not help ({seen.accounting})"
        return Verdict(Kind.UNKNOWN, "", f"is not in the queue, and accounting {why}; asking again.")
    word = seen.facts.state
    if word not in STATES:
        return Verdict(Kind.UNKNOWN, word, f"is in the state {word}, which is not known here; asking again.")
    return Verdict(Kind.UNKNOWN, word, f"has left the queue, but accounting still says {word}; asking again.")


def is_absent(accounting: str) -> bool:
    """Say whether a cluster keeps no accounts at all."""
    return "accounting storage is disabled" in accounting.lower()


def going(facts: Facts) -> Verdict:
    """Return how it stands with a job that the queue knows and that has not ended."""
    state = STATES.get(facts.state)
    if state is None:
        says = f"is in the state {facts.state}, which is not known here; asking again."
        return Verdict(Kind.UNKNOWN, facts.state, says)
    if state.kind is Kind.WAITING and facts.reason:
        says = f"{state.says} ({explained(facts.reason)})."
        return Verdict(state.kind, facts.state, says, never_starts=never_starts(facts.reason))
    return Verdict(state.kind, facts.state, f"{state.says}.")


def ended(facts: Facts, record: Record | None) -> Verdict:
    """Return how a job ended, by Slurm's word."""
    state = STATES[facts.state]
    code, number = facts.code, facts.signal
    # sacct shows exit codes above 128 without the 128; the queue shows none.
    if record is not None and (facts.source == "queue" or record.code == code + 128):
        code = record.code
    if state.kind is Kind.WELL:
        return Verdict(state.kind, facts.state, f"{state.says}.", 0, 0, "slurm")
    says = state.says + more(facts, code)
    if facts.elements:
        bad = sum(count for word, count in facts.elements.items() if word != "COMPLETED")
        says = f"has {bad} of {sum(facts.elements.values())} elements that did not end well; one {says}"
    mend = state.mend or mend_of_code(facts.state, code)
    if facts.reason.startswith(ENDING_REASONS):
        says, mend = f"{says} ({explained(facts.reason)})", mend_of(facts.reason) or mend
    return Verdict(state.kind, facts.state, f"{says}; {mend}." if mend else f"{says}.", code, number, "slurm")


# Reasons that tell of an ended job more than its state does; most are left from when it waited.
ENDING_REASONS = ("BadConstraints", "JobLaunchFailure", "SystemFailure", "NodeDown", "RaisedSignal", "InactiveLimit")


def more(facts: Facts, code: int) -> str:
    """Return what the state alone does not say."""
    match facts.state:
        case "FAILED":
            return how(code, facts.signal)
        case "CANCELLED":
            return f" by {facts.by}" if facts.by else ""
        case "TIMEOUT":
            return f" of {length(facts.limit)}" if facts.limit else ""
        case "OUT_OF_MEMORY":
            return f" ({facts.memory / 1024**2:.0f} MB were seen)" if facts.memory else ""
    return ""


def how(code: int, number: int) -> str:
    """Return with which exit code or signal a job failed; a shell says 128 and the signal's number of a program."""
    number = number or (code - 128 if 128 < code < 128 + 65 else 0)
    if number:
        return f" by signal {number} ({signal_name(number)})"
    return f" with exit code {code}" if code else ""


def mend_of_code(state: str, code: int) -> str:
    """Return what to change after exit codes that shells give a meaning."""
    if state != "FAILED":
        return ""
    return {
        126: "a program in it cannot be run: look at its permissions",
        127: "a program in it was not found: load its module with `modules=`, or write its whole path",
        137: "often that is memory: ask for more with `memory=`",
    }.get(code, "")


def length(seconds: int) -> str:
    """Return a length of time as Slurm writes limits: D-HH:MM:SS."""
    days, rest = divmod(seconds, 86400)
    return (f"{days}-" if days else "") + f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def recorded(record: Record) -> Verdict:
    """Return how a job ended by its own record, where Slurm does not say."""
    if record.code == 0:
        return Verdict(Kind.WELL, "", "ended well by its own record; accounting does not tell.", 0, 0, "record")
    what = how(record.code, 0)
    if record.elements > 1:
        what = f" in {record.failed} of {record.elements} elements, the worst{what}"
    says = f"failed{what} by its own record; accounting does not tell."
    return Verdict(Kind.BADLY, "", says, record.code, 0, "record")
