"""Does old history go, and does nothing go that is under way? A real Airflow with a database of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("airflow.configuration")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "in_airflow" / "database_care.py"
NOW = datetime.now(UTC).replace(tzinfo=None)
CONFIG = """
[core]
load_examples = False
auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager
[database]
sql_alchemy_conn = sqlite:///{home}/airflow.db?timeout=60
"""


def ago(**how_long):
    return str(NOW - timedelta(**how_long))


class Database:
    """A database of Airflow in a file, and what is planted in it."""

    def __init__(self, home):
        self.path, self.report = home / "airflow.db", home / "janitor" / "report.json"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        own = {"AIRFLOW_HOME": str(home), "AIRFLOW_CONFIG": str(home / "airflow.cfg")}
        self.environment = {**kept, **own, "WINDROSE_REPORT": str(self.report), "HISTORY_DAYS": "90"}
        (home / "airflow.cfg").write_text(CONFIG.format(home=home))
        airflow = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(airflow, env=self.environment, capture_output=True, check=True, timeout=120)

    def ask(self, sql, *values):
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(sql, values).fetchall()

    def plant_run(self, dag, run, state, *, began, ended=None, kind="manual"):
        self.ask(
            "INSERT INTO dag_run (dag_id, run_id, run_type, run_after, state, start_date, end_date)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(dag, run, kind, began, state, began, ended),
        )

    def plant_task(self, dag, run, state, *, began, trigger=None):
        name = f"{dag}{run}".encode().hex()[:32].ljust(32, "0")
        self.ask(
            "INSERT INTO task_instance (id, task_id, dag_id, run_id, state, try_number, pool, pool_slots, map_index,"
            " start_date, end_date, trigger_id) VALUES (?, 'work', ?, ?, ?, 1, 'default_pool', 1, -1, ?, ?, ?)",
            *(name, dag, run, state, began, None if trigger else began, trigger),
        )

    def care(self, *words):
        argv = [sys.executable, "-I", str(SCRIPT), *words]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(self.report.read_text())

    def names(self, table):
        return {f"{dag} {run}" for dag, run in self.ask(f"SELECT dag_id, run_id FROM {table}")}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("airflow"))
    for dag in ("calm", "waiting"):
        database.plant_run(dag, "old", "success", began=ago(days=120), ended=ago(days=119))
        database.plant_task(dag, "old", "success", began=ago(days=120))
        database.plant_run(dag, "new", "failed", began=ago(days=2), ended=ago(days=2, minutes=-5))
        database.plant_task(dag, "new", "failed", began=ago(days=2))
    database.ask("INSERT INTO trigger (id, classpath, kwargs, created_date) VALUES (7, 'x.Y', '{}', ?)", ago(days=110))
    database.plant_run("waiting", "under-way", "running", began=ago(days=110))
    database.plant_task("waiting", "under-way", "deferred", began=ago(days=110), trigger=7)
    error = "Traceback (most recent call last):\n  File x\nNameError: name 'y' is not defined\n"
    database.ask(
        "INSERT INTO import_error (filename, stacktrace, timestamp) VALUES ('a.py', ?, ?)", error, ago(hours=1)
    )
    database.ask("INSERT INTO log (event, dttm) VALUES ('old', ?), ('new', ?)", ago(days=100), ago(days=1))
    database.ask("INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', ?)", ago())
    return database


def test_facts_alone_delete_nothing(planted):
    before = planted.names("dag_run")

    _, report = planted.care()

    assert (planted.names("dag_run"), report["cleaned"]) == (before, None)


def test_facts_tell_what_went_wrong_in_the_week(planted):
    _, report = planted.care()

    assert report["runs"] == {"failed": 2}
    assert [(row["dag_id"], row["failed"], row["longest_seconds"]) for row in report["dags"]] == [
        ("calm", 1, 300.0),
        ("waiting", 1, 300.0),
    ]
    assert {row["dag_id"] for row in report["failed_runs"]} == {"calm", "waiting"}
    assert report["failed_tasks"][0] == {"dag_id": "calm", "task_id": "work", "failed": 1}
    assert [(row["dag_id"], row["run_id"]) for row in report["unfinished"]] == [("waiting", "under-way")]
    assert [(row["file"], row["error"]) for row in report["import_errors"]] == [
        ("a.py", "NameError: name 'y' is not defined")
    ]
    assert (list(report["heartbeats"]), report["database_bytes"] > 100_000) == (["SchedulerJob"], True)


def test_old_history_goes_and_what_is_under_way_stays_with_all_of_its_dag(planted):
    said, report = planted.care("clean")

    cleaned = report["cleaned"]
    kept = {"calm new", "waiting old", "waiting new", "waiting under-way"}
    assert (planted.names("dag_run"), planted.names("task_instance")) == (kept, kept)
    assert (cleaned["problem"], cleaned["kept"], cleaned["rows"]["dag_run"], cleaned["rows"]["log"]) == (
        *("", ["waiting"]),
        *(1, 1),
    )
    assert planted.ask("SELECT event FROM log WHERE event IN ('old', 'new')") == [("new",)]
    assert planted.ask("SELECT id FROM trigger") == [(7,)]
    assert planted.ask("SELECT name FROM sqlite_master WHERE name LIKE '_airflow_deleted%'") == []
    assert "kept waiting, which have an old run under way" in said
    # The next hour's facts do not forget it.
    assert planted.care()[1]["cleaned"] == cleaned


def test_a_table_that_cannot_be_cleaned_is_told(planted):
    planted.ask("ALTER TABLE revoked_token RENAME COLUMN exp TO gone")

    argv = [sys.executable, "-I", str(SCRIPT), "clean"]
    done = subprocess.run(argv, env=planted.environment, capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    assert "['revoked_token']" in json.loads(planted.report.read_text())["cleaned"]["problem"]


def test_without_an_age_nothing_is_deleted(planted):
    planted.plant_run("kept", "old", "success", began=ago(days=400), ended=ago(days=400))
    argv = [sys.executable, "-I", str(SCRIPT), "clean"]

    subprocess.run(argv, env={**planted.environment, "HISTORY_DAYS": "0"}, check=True, timeout=120)

    assert "kept old" in planted.names("dag_run")


def test_database_that_does_not_answer_is_one_sentence(planted, tmp_path):
    config = tmp_path / "airflow.cfg"
    config.write_text(CONFIG.format(home=tmp_path / "nowhere"))
    environment = {**planted.environment, "AIRFLOW_CONFIG": str(config)}

    done = subprocess.run([sys.executable, "-I", str(SCRIPT)], env=environment, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (
        *(1,),
        "janitor: the database cannot be asked now (OperationalError); the next hour tries again.\n",
    )


def test_every_table_that_airflow_cleans_is_decided_on(planted):
    program = "from airflow.utils.db_cleanup import config_dict; print(' '.join(config_dict))"
    argv = [sys.executable, "-W", "ignore", "-c", program]
    listed = subprocess.run(argv, env=planted.environment, capture_output=True, text=True, check=True).stdout.split()

    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import database_care
    finally:
        sys.path.remove(str(SCRIPT.parent))

    decided = {*database_care.OF_RUNS, *database_care.OTHERS, *database_care.LEFT_ALONE}
    assert (set(listed) - decided, decided - set(listed)) == (set(), set())
