"""How does the log of a task read on a terminal?"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scripts.airflow_runs import name_of, state_of, took
from scripts.airflow_session import ApiError, log_events
from scripts.commands.status import shown_file
from scripts.console import say

if TYPE_CHECKING:
    from airflow_client.client import Configuration, TaskInstanceResponse

SOURCE_DETAILS = "::group::Log message source details"
GROUP = re.compile(r"^::(end)?group::")
# Said by the line itself or by its header, or of no use to the author of a DAG.
LEFT_OUT = frozenset(
    "timestamp event level logger filename lineno chan loc error_detail "
    "ti ti_id dag_id task_id run_id try_number map_index".split()
)
MOST_OF_A_VALUE = 200
PAUSE = 1.0  # seconds
LIBRARIES = re.compile(r"/(site|dist)-packages/|/lib/python\d|^<frozen")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_log(configuration: Configuration, task: TaskInstanceResponse, most: int, *, until: float = 0.0) -> None:
    """Print what the last try of a task has logged: its last lines, and how many came before them.

    A task has failed before it says why: until a time of the monotonic clock, the log is read again for that.
    """
    say(f"\n== {title(task)}")
    if task.try_number < 1 or not task.start_date:
        return
    try:
        last, count, has_reason = read_end(configuration, task, most)
        while not has_reason and time.monotonic() < until:
            time.sleep(PAUSE)
            last, count, has_reason = read_end(configuration, task, most)
    except ApiError as error:
        say(str(error))
        return
    if count > len(last):
        say(f"({count - len(last)} lines before these)")
    for line in last:
        say(line)


def read_end(configuration: Configuration, task: TaskInstanceResponse, most: int) -> tuple[deque[str], int, bool]:
    """Return the last lines of a log, how many lines it has, and whether it tells an error.

    The error comes last: Airflow stamps what a task has printed only when it arrives, which may be after the error.
    """
    reasons: list[dict[str, Any]] = []

    def events() -> Iterator[dict[str, Any]]:
        place = (task.dag_id, task.dag_run_id, task.task_id)
        for event in log_events(configuration, place, task.try_number, task.map_index):
            if event.get("error_detail"):
                reasons.append(event)
            else:
                yield event
        yield from reasons

    last: deque[str] = deque(maxlen=most)
    count = 0
    for line in lines_of(events()):
        last.append(line)
        count += 1
    return last, count, bool(reasons)


def title(task: TaskInstanceResponse) -> str:
    """Return name, state, try and duration of a task."""
    state = state_of(task) or "not begun"
    if task.try_number < 1 or not task.start_date:
        return f"{name_of(task)}  {state}, nothing logged"
    tries = f"try {task.try_number}" + (f" of {task.max_tries + 1}" if task.max_tries else "")
    return ", ".join(text for text in (f"{name_of(task)}  {state}", tries, took(task.duration)) if text)


def failed_first(tasks: Sequence[TaskInstanceResponse]) -> list[TaskInstanceResponse]:
    """Return tasks in the order in which a person wants their logs."""
    return sorted(tasks, key=lambda task: (state_of(task) != "failed", task.start_date is None, task.start_date))


def lines_of(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the lines for a log; where Airflow has found it is left out."""
    is_source = False
    for event in events:
        text = str(event.get("event", ""))
        if text.startswith(SOURCE_DETAILS):
            is_source = True
        elif GROUP.match(text):
            is_source = False
        elif not is_source:
            yield from lines_of_event(event, text)


def lines_of_event(event: Mapping[str, Any], text: str) -> Iterator[str]:
    """Return time, level where it is not plain information, text, what was said with it, and the error."""
    level = str(event.get("level", "")).upper()
    said = [clock(event.get("timestamp")), "" if level in ("INFO", "") else level, text]
    others = {name: value for name, value in event.items() if name not in LEFT_OUT and value not in (None, "")}
    said += [f"{name}={str(value)[:MOST_OF_A_VALUE]}" for name, value in others.items()]
    for line in " ".join(word for word in said if word).split("\n"):
        yield clean(line)
    errors = event.get("error_detail")
    for error in errors if isinstance(errors, list) else []:
        yield from lines_of_error(error)


def lines_of_error(error: Mapping[str, Any]) -> Iterator[str]:
    """Return where an error happened, the person's own files only where there are any, and what it says."""
    frames = error.get("frames") or []
    own = [frame for frame in frames if not LIBRARIES.search(str(frame.get("filename", "")))]
    for frame in own or frames[-1:]:
        file = shown_file(str(frame.get("filename", "")))
        yield clean(f"    {file} line {frame.get('lineno')} in {frame.get('name')}")
    for line in f"{error.get('exc_type')}: {error.get('exc_value')}".split("\n"):
        yield clean(f"    {line}")


def clock(timestamp: object) -> str:
    """Return the time of day here, '' where there is none."""
    try:
        return datetime.fromisoformat(str(timestamp)).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""


def clean(line: str) -> str:
    """Return a line without what would steer the terminal: a log may hold anything."""
    return CONTROL.sub("", line)
