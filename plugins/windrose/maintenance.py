"""What the weekly report says: the facts that the janitor wrote down, and the disk, as a page in Markdown."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LONGEST_LOOK = 60.0  # seconds for all files of a folder
STALE = timedelta(hours=3)  # the janitor writes once an hour
LATE = timedelta(minutes=5)  # of a heartbeat, when the facts were written
NEEDED = {"SchedulerJob": "scheduler", "DagProcessorJob": "DAG processor", "TriggererJob": "triggerer"}
GIGABYTE = 1_000_000_000
LITTLE_SPACE = 0.1


class NoFacts(ValueError):
    """There is nothing to report yet."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What a folder takes, and what is left on its disk."""

    name: str
    used: int
    files: int
    is_all: bool  # else there were more files than there was time to look at
    free: int
    size: int


def logs_folder() -> Path:
    """Return the folder that is logs/ of the clone."""
    embedded = os.environ.get("WINDROSE_EMBEDDED")
    return Path(embedded).parent.parent / "logs" if embedded else Path("/opt/airflow/logs")


def read_facts(path: Path) -> dict[str, Any]:
    """Return what the janitor wrote down."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = "it does two minutes after its start; see `make logs SERVICE=janitor`"
        raise NoFacts(f"the janitor has written no facts yet: {mend}.") from None
    return found


def look_at(name: str, folder: Path) -> Disk:
    """Return what a folder takes; a very large one is looked at for a while only."""
    end = time.monotonic() + LONGEST_LOOK
    used = files = 0
    is_all = True
    for place, _, names in os.walk(folder):
        for each in names:
            try:
                used += os.lstat(os.path.join(place, each)).st_size
            except OSError:
                continue
            files += 1
        if time.monotonic() > end:
            is_all = False
            break
    space = shutil.disk_usage(folder)
    return Disk(name, used, files, is_all, space.free, space.total)


def problems(facts: dict[str, Any], disks: list[Disk], *, now: datetime) -> list[str]:
    """Return what a person should look after, a sentence each."""
    found = []
    written = datetime.fromisoformat(facts["written"])
    if now - written > STALE:
        found.append(f"The facts are from {shown(facts['written'])}; see `make logs SERVICE=janitor`.")
    cleaned = facts.get("cleaned")
    if cleaned and cleaned["problem"]:
        found.append(f"Old history was not deleted completely: {cleaned['problem']}")
    if facts["import_errors"]:
        files = counted(len(facts["import_errors"]), "file")
        found.append(f"{files} of dags/ cannot be imported; the table names what is wrong.")
    for job, name in NEEDED.items():
        beat = facts["heartbeats"].get(job)
        if beat is None or written - datetime.fromisoformat(beat) > LATE:
            found.append(f"The {name} had no heartbeat when the facts were written; see `make status`.")
    if facts["unfinished"]:
        many = counted(len(facts["unfinished"]), "run")
        found.append(f"{many} under way for more than a day; while a run is, its DAG keeps all of its history.")
    found += [
        f"The disk of {disk.name} is almost full: {in_gb(disk.free)} of {in_gb(disk.size)} are free."
        for disk in disks
        if disk.free < disk.size * LITTLE_SPACE
    ]
    return found


def page(facts: dict[str, Any], disks: list[Disk], *, now: datetime, rows: int) -> str:
    """Return the whole report."""
    to_do = problems(facts, disks, now=now)
    runs = facts["runs"]
    parts = [
        f"# The last {facts['days']} days, as of {shown(facts['written'])}",
        "\n".join(f"- {sentence}" for sentence in to_do) or "Nothing needs you.",
        f"## Runs\n{sum(runs.values())} began: " + (", ".join(f"{n} {state}" for state, n in runs.items()) or "none"),
        section("Failed runs", facts["failed_runs"], ("dag_id", "run_id", "ended"), rows),
        section("Tasks that failed", facts["failed_tasks"], ("dag_id", "task_id", "failed"), rows),
        section("Slowest DAGs", facts["dags"], ("dag_id", "runs", "failed", "mean_seconds", "longest_seconds"), rows),
        section("Under way for more than a day", facts["unfinished"], ("dag_id", "run_id", "since"), rows),
        section("Files that cannot be imported", facts["import_errors"], ("file", "since", "error"), rows),
        f"## Database\n{database(facts)}",
        section("Disk", [disk_row(disk) for disk in disks], ("folder", "used", "files", "free"), rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(title: str, found: list[dict[str, Any]], columns: tuple[str, ...], rows: int) -> str:
    """Return a table with its title, '' where there is nothing to show."""
    if not found:
        return ""
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(cell(each.get(name)) for name in columns)} |" for each in found[:rows]]
    more = f"\n\n... and {len(found) - rows} more" if len(found) > rows else ""
    return f"## {title}\n" + "\n".join(lines) + more


def cell(value: object) -> str:
    """Return a value that cannot break a table."""
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def database(facts: dict[str, Any]) -> str:
    """Say how large the database is, and what was deleted from it last."""
    size = in_gb(facts["database_bytes"]) if facts["database_bytes"] else "unknown"
    oldest = f", the oldest run began {shown(facts['oldest_run'])}" if facts["oldest_run"] else ""
    cleaned = facts.get("cleaned")
    if not cleaned:
        return f"Size: {size}{oldest}. Nothing was deleted from it yet."
    rows = ", ".join(f"{count} of {table}" for table, count in cleaned["rows"].items()) or "nothing"
    kept = f" Kept, because an old run is under way: {', '.join(cleaned['kept'])}." if cleaned["kept"] else ""
    return (
        f"Size: {size}{oldest}. Deleted last at {shown(cleaned['at'])}, in {cleaned['seconds']} s, what was older than "
        f"{cleaned['days']} days: {rows}.{kept}"
    )


def disk_row(disk: Disk) -> dict[str, object]:
    """Return a folder as a row."""
    more = "" if disk.is_all else " and more"
    return {
        "folder": disk.name,
        "used": in_gb(disk.used) + more,
        "files": f"{disk.files}{more}",
        "free": f"{in_gb(disk.free)} of {in_gb(disk.size)}",
    }


def counted(number: int, word: str) -> str:
    """Return a number with its word."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def in_gb(size: float) -> str:
    """Return a size as people read it."""
    return f"{size / 1_000_000:.1f} MB" if size < GIGABYTE else f"{size / GIGABYTE:.1f} GB"


def shown(moment: str) -> str:
    """Return a time as people read it."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
