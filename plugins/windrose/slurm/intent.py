"""What a task has written down of its job before it submitted it, and what the next try makes of that.

The record outlives tries, workers and the whole stack, and goes with the run: a run that was deleted and made again
under the same id has none. A retry must find its job again by it, while a clear by a person must begin a new one.
Airflow tells a task nothing of which of the two it was, so the record keeps what they change:

- a clear of this very task raises its `max_tries`, unless it was running at that time; nothing else does;
- a clear of anything in the run raises the run's `clear_number`, where it starts the run again; a retry leaves it. So
  where that is another, this task may have been meant, too: if `retries` was changed in the DAG file, which can hide
  the first sign, or if a process had the task in hand when it was last heard of (`held`). One that ends in an orderly
  way lets go first. Only one that was killed does not; and if a clear came then, it is taken to have been ours.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any, Protocol

from windrose.slurm.model import NAME_PREFIX

KEY = "slurm"  # in the task's state store, and so in the record of each of its runs
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
TOKEN_LENGTH = 20
WORDS = 60  # characters of a job's name that say which task it belongs to


class Step(Enum):
    """What a try has to do."""

    SUBMIT = "submit"  # there is no job that it could go on with
    ATTACH = "attach"  # there is one, or there may be
    REPLACE = "replace"  # there may be one, and it is not wanted any more


class StateStore(Protocol):
    """The task's part of Airflow's state store."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Return a value."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:  # noqa: ANN401 - JSON
        """Write a value."""


@dataclass(frozen=True, slots=True)
class Now:
    """What Airflow says of a task at this try."""

    max_tries: int
    retries: int
    clears: int


@dataclass(slots=True)
class Intent:
    """A job that was submitted, or was about to be."""

    token: str
    name: str
    platform: str
    max_tries: int
    retries: int
    clears: int
    held: bool = True
    job_id: str = ""
    folder: str = ""
    array: bool = False
    deadline: float | None = None  # when the trigger cancels it
    ended: str = ""  # well or badly, once that is certain

    def hold(self, now: Now) -> None:
        """Take the task in hand: this process was started by Airflow, so whatever was cleared before is past."""
        self.held = True
        self.max_tries, self.retries, self.clears = now.max_tries, now.retries, now.clears


def next_step(intent: Intent | None, now: Now) -> Step:
    """Decide what this try has to do."""
    if intent is None:
        return Step.SUBMIT
    if was_cleared(intent, now):
        return Step.SUBMIT if intent.ended else Step.REPLACE
    return Step.SUBMIT if intent.ended == "badly" else Step.ATTACH


def was_cleared(intent: Intent, now: Now) -> bool:
    """Say whether a person has cleared the task since its record was written, or may have."""
    if intent.max_tries != now.max_tries:
        return True
    return intent.clears != now.clears and (intent.held or intent.retries != now.retries)


def begin(platform: str, dag_id: str, task_id: str, now: Now) -> Intent:
    """Return the record of a job that nobody has asked for yet."""
    token = "".join(secrets.choice(LETTERS) for _ in range(TOKEN_LENGTH))
    return Intent(token, job_name(dag_id, task_id, token), platform, now.max_tries, now.retries, now.clears)


def from_event(event: Mapping[str, Any], platform: str) -> Intent:
    """Return the record of a job of which only its trigger still knows."""
    return Intent(event["token"], event["token"], platform, 0, 0, 0, job_id=event["job_id"], folder=event["folder"])


def job_name(dag_id: str, task_id: str, token: str) -> str:
    """Return the name of a job: what a person recognises it by, and its token."""
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{dag_id}.{task_id}")
    return f"{NAME_PREFIX}{words[:WORDS].strip('-')}.{token}"


def read(store: StateStore) -> Intent | None:
    """Return what is written down, None where nothing is."""
    found = store.get(KEY)
    if not isinstance(found, Mapping):
        return None
    # A record of another version of this file is read as far as it goes.
    known = {field.name for field in fields(Intent)}
    return Intent(**{name: value for name, value in found.items() if name in known})


def write(store: StateStore, intent: Intent) -> None:
    """Write it down for as long as there is the run: a job may wait longer than Airflow keeps such records."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    store.set(KEY, asdict(intent), retention=NEVER_EXPIRE)
