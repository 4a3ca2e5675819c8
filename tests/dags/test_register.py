"""Does Airflow hold just what was requested? A real Airflow with a database of its own, in one process a request."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow.configuration")
from cryptography.fernet import Fernet  # noqa: E402 - only where Airflow is installed

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "in_airflow" / "register.py"
MARK = "windrose: from secrets.yaml"
LUMI = {
    "description": MARK,
    "conn_type": "ssh",
    "login": "me",
    "host": "lumi.example.org",
    "port": 22,
    "extra": {"key_file": "/run/secrets/hpc"},
}
POOL = {"slots": 8, "description": "windrose: logins to hpc-lumi", "include_deferred": False}
UNCHANGED = {"change": "unchanged", "fields": []}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }


def airflow(environment, *words):
    argv = [sys.executable, "-m", "airflow", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def database(environment):
    airflow(environment, "db", "migrate")
    airflow(environment, "connections", "add", "by-hand", "--conn-type", "http", "--conn-host", "example.org")
    return environment


def register(environment, *, mode="apply", adopt=(), **wanted):
    request = {"connections": {}, "pools": {}, "variables": {}, "adopt": list(adopt), "mode": mode, **wanted}
    argv = [sys.executable, str(SCRIPT)]
    done = subprocess.run(
        argv, env=environment, input=json.dumps(request), capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def stored(environment):
    listed = airflow(environment, "connections", "export", "/dev/stdout", "--file-format", "json")
    return json.loads(listed[listed.index("{") : listed.rindex("}") + 1])


def test_what_is_requested_is_registered_once_and_a_second_time_unchanged(database):
    wanted = {
        "connections": {"hpc-lumi": LUMI, "web": {"description": MARK, "uri": "https://u:pässwörd@example.org/x"}},
        "pools": {"hpc-lumi": POOL, "default_pool": {"slots": 64, "description": MARK, "include_deferred": False}},
        "variables": {"site": {"value": "north", "description": MARK}, "list": {"value": [1], "description": MARK}},
    }

    first, second = register(database, **wanted), register(database, **wanted)

    changes = {kind: {name: entry["change"] for name, entry in first[kind].items()} for kind in wanted}
    assert changes == {
        "connections": {"hpc-lumi": "added", "web": "added"},
        "pools": {"hpc-lumi": "added", "default_pool": "changed"},
        "variables": {"site": "added", "list": "added"},
    }
    assert second == {
        "foreign": [],
        "unverified": [],
        "connections": {"hpc-lumi": UNCHANGED, "web": UNCHANGED},
        "pools": {"hpc-lumi": UNCHANGED, "default_pool": UNCHANGED},
        "variables": {"site": UNCHANGED, "list": UNCHANGED},
    }
    assert stored(database)["web"]["password"] == "pässwörd"


def test_what_is_edited_by_hand_is_told_by_field_and_restored(database):
    register(database, connections={"hpc-lumi": LUMI})
    airflow(database, "connections", "delete", "hpc-lumi")
    edited = {**LUMI, "host": "elsewhere.example.org", "password": "typed-by-hand", "extra": {"key_file": "/other"}}
    airflow(database, "connections", "add", "hpc-lumi", "--conn-json", json.dumps(edited))

    told = register(database, mode="diff", connections={"hpc-lumi": LUMI})
    register(database, connections={"hpc-lumi": LUMI})

    assert told["connections"]["hpc-lumi"] == {"change": "changed", "fields": ["extra.key_file", "host", "password"]}
    assert (stored(database)["hpc-lumi"]["host"], stored(database)["hpc-lumi"]["password"]) == (LUMI["host"], None)


def test_what_is_no_longer_requested_goes_and_what_others_made_stays(database):
    register(database, connections={"hpc-lumi": LUMI}, pools={"hpc-lumi": POOL, "default_pool": POOL | {"slots": 9}})

    told = register(database)

    assert told["connections"] == {"hpc-lumi": {"change": "removed", "fields": []}}
    assert told["pools"] == {"hpc-lumi": {"change": "removed", "fields": []}}
    assert sorted(stored(database)) == ["by-hand"]


def test_a_name_that_others_made_stops_everything_until_it_is_adopted(database):
    wanted = {"connections": {"by-hand": LUMI, "hpc-lumi": LUMI}}

    refused = register(database, **wanted)
    kept = stored(database)
    adopted = register(database, adopt=["by-hand"], **wanted)

    assert refused["foreign"] == ["by-hand"]
    assert (sorted(kept), kept["by-hand"]["host"]) == (["by-hand"], "example.org")
    assert (adopted["foreign"], adopted["connections"]["hpc-lumi"]["change"]) == ([], "added")
    assert stored(database)["by-hand"]["host"] == LUMI["host"]


def test_a_connection_that_airflow_cannot_read_is_named_without_its_content(database):
    told = register(database, connections={"odd": {"description": MARK, "uri": "no-uri", "hunter2": "hunter2"}})

    assert told == {"foreign": [], "unverified": [], "refused": ["odd"]}


def ask(environment, sql):
    with sqlite3.connect(Path(environment["AIRFLOW_HOME"]) / "airflow.db") as connection:
        return connection.execute(sql).fetchall()


def test_installation_has_a_word_of_its_own_for_good(database):
    stored_word = "SELECT val FROM variable WHERE key = 'windrose_installation'"
    ask(database, "DELETE FROM variable")

    told = register(database, mode="diff")
    unasked = ask(database, stored_word)
    register(database)
    made = ask(database, stored_word)
    carried = {"windrose_installation": {"value": "of another database", "description": "x"}}
    told = register(database, mode="carry", variables=carried)

    assert (unasked, len(made), ask(database, stored_word)) == ([], 1, made)
    assert (told["foreign"], told["unverified"], told["variables"]) == ([], [], {})
    assert re.fullmatch("[0-9a-f]{16}", airflow(database, "variables", "get", "windrose_installation").strip())


def test_values_of_another_fernet_key_stop_it(database):
    wanted = {"web": {**LUMI, "password": "a-password"}}
    register(database, connections=wanted)
    other = {**database, "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode()}

    told = register(other, connections=wanted)

    assert told == {"failed": "InvalidToken"}


def test_what_no_file_describes_any_more_stays_where_the_request_does_not_name_it(database):
    register(database, connections={"hpc-lumi": LUMI, "hpc-demo": LUMI}, pools={"hpc-lumi": POOL})

    refused = register(database, connections={"other": LUMI}, may_remove=["hpc-demo"])
    held = sorted(stored(database))
    taken = register(database, connections={"hpc-lumi": LUMI}, pools={"hpc-lumi": POOL}, may_remove=["hpc-demo"])

    assert (refused["unasked"], "other" in held, "hpc-demo" in held) == (["hpc-lumi"], False, True)
    register(database, connections={"hpc-lumi": LUMI, "hpc-demo": LUMI})
    carried = register(database, mode="carry", may_remove=["hpc-demo"])
    left = sorted(stored(database))

    assert (carried["connections"]["hpc-demo"]["change"], "hpc-lumi" in left, "hpc-demo" in left) == (
        "removed",
        True,
        False,
    )
    assert ("unasked" in taken, taken["connections"]["hpc-demo"]["change"]) == (False, "removed")
