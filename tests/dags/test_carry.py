"""Does what people made come out of one Airflow whole, and into another with their passwords?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow.configuration")
from cryptography.fernet import Fernet  # noqa: E402 - only where Airflow is installed

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "in_airflow"


def environment_of(home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


def airflow(environment, *commands):
    """Run commands of Airflow, all in one process: each would take seconds to start."""
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import register\nfor c in {commands!r}: register.airflow(c)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=120)


def ask(environment, script, request):
    argv = [sys.executable, str(SCRIPTS / script)]
    done = subprocess.run(
        argv, env=environment, input=json.dumps(request), capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_what_people_made_is_the_same_in_the_other_airflow(tmp_path):
    old, new = environment_of(tmp_path / "old"), environment_of(tmp_path / "new")
    web = '{"conn_type": "http", "password": "pä", "extra": {"a": 1}}'
    airflow(
        old,
        ["db", "migrate"],
        ["connections", "add", "web", "--conn-json", web],
        ["variables", "set", "colour", '["blau"]'],
        ["pools", "set", "lab", "3", "ours"],
        ["users", "create", *"-u ada -f Ada -l L -e ada@example.org -r Viewer -p a-password".split()],
    )
    airflow(new, ["db", "migrate"], ["connections", "add", "own", "--conn-type", "http"])

    carried = ask(old, "carry.py", {"do": "export"})
    names = [name for kind in ("connections", "pools", "variables") for name in carried[kind]]
    wanted = {kind: carried[kind] for kind in ("connections", "pools", "variables")}
    told = ask(new, "register.py", {**wanted, "adopt": names, "mode": "carry"})
    people = ask(new, "carry.py", {"do": "users", "users": carried["users"], "roles": carried["roles"]})
    found = ask(new, "carry.py", {"do": "export"})

    assert (told["foreign"], told["unverified"], people["users"]) == ([], [], {"ada": "added"})
    assert sorted(found["connections"]) == ["own", "web"]
    assert found["connections"]["web"] == carried["connections"]["web"]
    assert {kind: found[kind] for kind in ("pools", "variables", "users")} == {
        kind: carried[kind] for kind in ("pools", "variables", "users")
    }
    assert "a-password" not in json.dumps(carried)
