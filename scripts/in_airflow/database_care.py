"""Delete what is old from Airflow's database, and write down what the weekly report tells: `database_care.py [clean]`.

Tasks cannot reach the database in Airflow 3. The janitor can: it starts this once an hour, once a day with `clean`,
and the facts go into a file that tasks can read. Only names, times and numbers are written, nothing that a run holds.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    func,
    inspect,
    select,
    text,
)

REPORT = Path(os.environ.get("WINDROSE_REPORT", "/opt/airflow/logs/janitor/report.json"))
WEEK = timedelta(days=7)
LONG = timedelta(days=1)  # a run that is under way for longer is told
SHOWN = 50  # rows of each list, newest or largest first
LONGEST_TEXT = 300
UNFINISHED = ("queued", "running")
AT_ONCE = 10_000  # rows a transaction: others write to the same tables meanwhile
# What belongs to runs. A DAG that has an old run under way keeps all of its history, because age is all that
# `airflow db clean` asks: it would take the run away under its task.
OF_RUNS = (
    *("dag_run", "task_instance", "task_instance_history", "task_state_store"),
    *("xcom", "deadline", "dag_version"),
)
OTHERS = (
    *("log", "job", "import_error", "callback", "asset_event", "partitioned_asset_key_log"),
    *("revoked_token", "connection_test_request", "session"),
)
# A DAG's row says whether it is paused. A trigger may wait for longer than any age, and its task would go with it; the
# triggerer removes unused ones. What a sensor remembers goes with its task.
LEFT_ALONE = ("dag", "trigger", "task_reschedule", "celery_taskmeta", "celery_tasksetmeta", "_xcom_archive")

TIME = DateTime(timezone=True)
TABLES = MetaData()
RUNS = Table(
    "dag_run",
    TABLES,
    *(Column(name, String) for name in ("dag_id", "run_id", "state")),
    *(Column(name, TIME) for name in ("queued_at", "start_date", "end_date")),
)
TASKS = Table(
    "task_instance",
    TABLES,
    *(Column(name, String) for name in ("dag_id", "task_id", "state")),
    Column("end_date", TIME),
)
IMPORT_ERRORS = Table(
    "import_error", TABLES, Column("filename", String), Column("stacktrace", Text), Column("timestamp", TIME)
)
JOBS = Table("job", TABLES, Column("job_type", String), Column("state", String), Column("latest_heartbeat", TIME))
SIZES = {
    "postgresql": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


def main(arguments: list[str]) -> int:
    """Clean where that is asked for, then write the facts; return 1 where something went wrong."""
    days = int(os.environ.get("HISTORY_DAYS", "0"))
    engine = create_engine(database_address(Path(os.environ["AIRFLOW_CONFIG"])))
    cleaned, is_well = read(REPORT).get("cleaned"), True
    if arguments == ["clean"] and days:
        cleaned = clean(engine, datetime.now(UTC) - timedelta(days=days), days)
        is_well = not cleaned["problem"]
        say(told(cleaned))
    write(REPORT, {"version": 1, "written": iso(datetime.now(UTC)), "cleaned": cleaned, **facts(engine)})
    return 0 if is_well else 1


def say(line: str) -> None:
    """Print one line of what has been done."""
    print(f"janitor: {line}", flush=True)  # noqa: T201


def told(cleaned: dict[str, Any]) -> str:
    """Return what was cleaned, in a sentence."""
    rows = ", ".join(f"{count} of {table}" for table, count in cleaned["rows"].items()) or "nothing"
    kept = f"; kept {', '.join(cleaned['kept'])}, which have an old run under way" if cleaned["kept"] else ""
    trouble = f"; {cleaned['problem']}" if cleaned["problem"] else ""
    return f"deleted from the database what is older than {cleaned['days']} days: {rows}{kept}{trouble}"


def database_address(config_file: Path) -> str:
    """Return [database] sql_alchemy_conn of Airflow's configuration."""
    config = configparser.RawConfigParser()
    config.read(config_file, encoding="utf-8")
    # Airflow's file doubles percent signs.
    return config.get("database", "sql_alchemy_conn").replace("%%", "%")


def clean(engine: Engine, before: datetime, days: int) -> dict[str, Any]:
    """Let Airflow delete what is older, and return what came of it."""
    begun = time.monotonic()
    kept = busy_dags(engine, before)
    output, problem = io.StringIO(), ""
    try:
        with redirect_stdout(output):
            forget_missing_columns(engine)
            airflow_clean(before, OF_RUNS, ["--exclude-dag-ids", ",".join(kept)] if kept else [])
            airflow_clean(before, OTHERS, [])
    except Exception as error:
        # The next day tries again; the report tells it until then.
        problem = f"the cleaning ended early ({type(error).__name__}: {one_line(str(error))})"
    return {
        "at": iso(datetime.now(UTC)),
        "before": iso(before),
        "days": days,
        "seconds": round(time.monotonic() - begun, 1),
        "rows": deleted_rows(output.getvalue()),
        "kept": kept,
        "problem": problem,
    }


def busy_dags(engine: Engine, before: datetime) -> list[str]:
    """Return the DAGs with a run that began before then and has not ended."""
    began = func.coalesce(RUNS.c.start_date, RUNS.c.queued_at)
    with engine.connect() as connection:
        found = connection.scalars(select(RUNS.c.dag_id).distinct().where(RUNS.c.state.in_(UNFINISHED), began < before))
        return sorted(found)


def forget_missing_columns(engine: Engine) -> None:
    """Let Airflow not ask some tables for a DAG's name.

    Airflow 3.3.2 believes that `deadline` and others have it, and fails on them as soon as a DAG is excluded.
    """
    from airflow.utils.db_cleanup import config_dict

    inspector = inspect(engine)
    for name, config in config_dict.items():
        if config.dag_id_column is not None and inspector.has_table(name):
            columns = {column["name"] for column in inspector.get_columns(name)}
            if config.dag_id_column.name not in columns:
                config.dag_id_column = None


def airflow_clean(before: datetime, tables: Iterable[str], more: list[str]) -> None:
    """Run `airflow db clean` in this process."""
    from airflow.cli.cli_parser import get_parser

    words = ["db", "clean", "--yes", "--skip-archive", "--error-on-cleanup-failure", "--batch-size", str(AT_ONCE)]
    words += ["--clean-before-timestamp", before.isoformat(), "--tables", ",".join(tables), *more]
    chosen = get_parser().parse_args(words)
    chosen.func(chosen)


def deleted_rows(output: str) -> dict[str, int]:
    """Return table -> rows from what `airflow db clean` printed."""
    rows: Counter[str] = Counter()
    table = ""
    for line in output.splitlines():
        if line.startswith("Checking table "):
            table = line.removeprefix("Checking table ").strip()
        elif found := re.match(r"Found (\d+) rows", line):
            rows[table] += int(found[1])
    return {table: count for table, count in sorted(rows.items()) if count}


def facts(engine: Engine) -> dict[str, Any]:
    """Return what the report tells of the last week."""
    now = datetime.now(UTC)
    with engine.connect() as connection:
        found = connection.execute(select(RUNS).where(RUNS.c.start_date >= now - WEEK)).mappings()
        runs = [dict(row) for row in found]
        broken = connection.execute(select(IMPORT_ERRORS).order_by(IMPORT_ERRORS.c.timestamp.desc()).limit(SHOWN))
        began = func.coalesce(RUNS.c.start_date, RUNS.c.queued_at)
        late = connection.execute(
            select(RUNS).where(RUNS.c.state.in_(UNFINISHED), began < now - LONG).order_by(began).limit(SHOWN)
        )
        how_many = func.count()
        failing = connection.execute(
            select(TASKS.c.dag_id, TASKS.c.task_id, how_many)
            .where(TASKS.c.state == "failed", TASKS.c.end_date >= now - WEEK)
            .group_by(TASKS.c.dag_id, TASKS.c.task_id)
            .order_by(how_many.desc())
            .limit(SHOWN)
        )
        alive = connection.execute(
            select(JOBS.c.job_type, func.max(JOBS.c.latest_heartbeat))
            .where(JOBS.c.state == "running")
            .group_by(JOBS.c.job_type)
        )
        size = SIZES.get(engine.dialect.name)
        return {
            "days": WEEK.days,
            "runs": dict(Counter(str(run["state"]) for run in runs)),
            "dags": by_dag(runs),
            "failed_runs": failed_runs(runs),
            "failed_tasks": [{"dag_id": dag, "task_id": task, "failed": n} for dag, task, n in failing],
            "unfinished": [
                {"dag_id": row.dag_id, "run_id": row.run_id, "since": iso(row.start_date or row.queued_at)}
                for row in late
            ],
            "import_errors": [
                {"file": row.filename, "since": iso(row.timestamp), "error": last_line(row.stacktrace)}
                for row in broken
            ],
            "heartbeats": {job: iso(beat) for job, beat in alive},
            "database_bytes": connection.scalar(text(size)) if size else None,
            "oldest_run": iso(connection.scalar(select(func.min(RUNS.c.start_date)))),
        }


def by_dag(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each DAG's runs and times, the one that took longest in all first."""
    seconds: dict[str, list[float]] = {}
    counts = Counter(run["dag_id"] for run in runs)
    failed = Counter(run["dag_id"] for run in runs if run["state"] == "failed")
    for run in runs:
        times = seconds.setdefault(run["dag_id"], [])
        if run["end_date"]:
            times.append((run["end_date"] - run["start_date"]).total_seconds())
    rows: list[dict[str, Any]] = [
        {
            "dag_id": dag,
            "runs": counts[dag],
            "failed": failed[dag],
            "mean_seconds": round(sum(times) / len(times), 1) if times else None,
            "longest_seconds": round(max(times), 1) if times else None,
        }
        for dag, times in seconds.items()
    ]
    return sorted(rows, key=lambda row: -(row["longest_seconds"] or 0))[:SHOWN]


def failed_runs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs that failed, newest first."""
    found = [run for run in runs if run["state"] == "failed"]
    found.sort(key=lambda run: run["end_date"] or run["start_date"], reverse=True)
    return [{"dag_id": run["dag_id"], "run_id": run["run_id"], "ended": iso(run["end_date"])} for run in found[:SHOWN]]


def iso(moment: datetime | None) -> str | None:
    """Return a time in UTC as text; SQLite gives times without a zone."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def last_line(trace: str | None) -> str:
    """Return the last line of a traceback: what is wrong."""
    lines = [line for line in (trace or "").splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


def one_line(words: str) -> str:
    """Return text that fits into a cell."""
    return " ".join(words.split())[:LONGEST_TEXT]


def read(path: Path) -> dict[str, Any]:
    """Return what was written last, {} where there is nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    from sqlalchemy.exc import SQLAlchemyError

    try:
        sys.exit(main(sys.argv[1:]))
    except SQLAlchemyError as problem:
        # Its message may hold the address of the database, and with it the password.
        sys.exit(f"janitor: the database cannot be asked now ({type(problem).__name__}); the next hour tries again.")
