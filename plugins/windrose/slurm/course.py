"""What is a task's log told of its job's course? Each change once, and what nobody knows now and then."""

from __future__ import annotations

from windrose.slurm.model import Seen
from windrose.slurm.pace import REMIND
from windrose.slurm.states import History, Kind, Verdict, judge

SETTLE = 20.0  # seconds between two sentences about the same state: reasons and counts go back and forth
DOUBT = 60.0  # seconds for which nobody may know a job before that is told


class Course:
    """What is known of one job, and what was told of it."""

    def __init__(self, job_id: str) -> None:
        """Begin with a job of which nothing is known."""
        self.job_id = job_id
        self.history = History()
        self.is_ended = False
        self.is_good = False
        self.source = "slurm"
        self.state = ""
        self.said = ""
        self.told_at = float("-inf")
        self.doubt_since: float | None = None

    def tell(self, seen: Seen, now: float) -> list[str]:
        """Take what was seen; return what is to be told."""
        verdict = judge(seen, self.history, now)
        self.is_ended, self.is_good = verdict.is_end, verdict.kind is Kind.WELL
        self.source = verdict.source or self.source
        sentence = f"{verdict.word or 'state unknown'}: job {self.job_id} {told(seen, verdict)}"
        if verdict.kind is Kind.UNKNOWN:
            return self.doubt(sentence, now)
        self.doubt_since = None
        is_other = verdict.word != self.state
        if sentence == self.said or (not is_other and now - self.told_at < SETTLE and not self.is_ended):
            return []
        self.state, self.said, self.told_at = verdict.word, sentence, now
        return [sentence]

    def doubt(self, sentence: str, now: float) -> list[str]:
        """Return what is told of a job that nobody knows: nothing at first, because answers come late."""
        if self.doubt_since is None:
            self.doubt_since, self.told_at = now, now - REMIND + DOUBT
        if now - self.told_at < REMIND:
            return []
        self.said, self.told_at = sentence, now
        return [f"{sentence} It is asked for until that is certain."]


def told(seen: Seen, verdict: Verdict) -> str:
    """Return how it stands with a job, as the rest of a sentence or more."""
    says, elements = verdict.says, counts(seen)
    if verdict.kind is Kind.RUNNING and seen.facts and seen.facts.nodes:
        says = f"{says.rstrip('.')} on {seen.facts.nodes}."
    if verdict.never_starts:
        says += f" It cannot start: {verdict.never_starts}."
    return f"{says} Elements: {elements}." if elements else says


def counts(seen: Seen) -> str:
    """Return how many elements of an array are in which state."""
    if seen.facts is None:
        return ""
    found = sorted(seen.facts.elements.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {state}" for state, number in found)
