"""Who may see, start and change a DAG that is closed, asked of the real auth manager beside a real database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow.providers.fab")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json
from airflow import settings
from airflow.utils import db
db.initdb()
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.providers.fab.auth_manager.models import User
from airflow.providers.fab.www.security_appless import ApplessAirflowSecurityManager
from windrose.access import ADMIN_AND_OP

with get_application_builder() as builder:
    builder.add_permissions(update_perms=True)
    builder.sm.sync_roles()
    team = builder.sm.bulk_sync_roles([{"role": "Team", "perms": [("can_read", "Website")]}])
    for role in ("Admin", "Op", "User", "Viewer", "Team"):
        builder.sm.add_user(role, role, role, f"{role}@localhost", builder.sm.find_role(role), "password")
    with settings.Session() as session:
        session.add(DagBundleModel(name="bundle"))
        session.flush()
        for name in ("closed", "open", "granted"):
            session.add(DagModel(dag_id=name, bundle_name="bundle", fileloc=""))
        session.commit()
    with settings.Session() as session:
        security = ApplessAirflowSecurityManager(session=session)
        security.sync_perm_for_dag("closed", ADMIN_AND_OP)
        security.sync_perm_for_dag("open", None)
        security.sync_perm_for_dag("granted", {"Team": {"DAGs": {"can_read"}}})
        session.commit()
    manager = create_auth_manager()
    found = {}
    for role in ("Admin", "Op", "User", "Viewer", "Team"):
        user = builder.sm.find_user(username=role)
        asked = [("GET", None), ("PUT", None), ("DELETE", None), ("GET", DagAccessEntity.RUN)]
        asked += [("POST", DagAccessEntity.RUN), ("PUT", DagAccessEntity.TASK_INSTANCE)]
        asked += [("GET", DagAccessEntity.TASK_LOGS)]
        found[role] = {}
        for name in ("closed", "open"):
            words = {"user": user, "details": DagDetails(id=name)}
            may = [manager.is_authorized_dag(method=method, access_entity=entity, **words) for method, entity in asked]
            found[role][name] = "".join("y" if one else "-" for one in may)
        found[role]["listed"] = sorted(manager.get_authorized_dag_ids(user=user))
        found[role]["editable"] = sorted(manager.get_authorized_dag_ids(user=user, method="PUT"))
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each role may do: the letters stand for GET, PUT, DELETE, see runs, start, clear, read logs."""
    home = tmp_path_factory.mktemp("access")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": "windrose.auth_manager.WindroseFabAuthManager",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    argv = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().rpartition("\n")[2])


@pytest.mark.parametrize(
    ("role", "closed", "open_"),
    [
        ("Admin", "yyyyyyy", "yyyyyyy"),
        ("Op", "yyyyyyy", "yyyyyyy"),
        ("User", "-------", "yyyyyyy"),
        ("Viewer", "-------", "y--y--y"),
        ("Team", "-------", "-------"),
    ],
)
def test_closed_dag_is_for_those_it_names(found, role, closed, open_):
    assert (found[role]["closed"], found[role]["open"]) == (closed, open_)


def test_closed_dag_is_listed_for_those_it_names(found):
    listed = {role: seen["listed"] for role, seen in found.items()}

    everything, without = ["closed", "granted", "open"], ["granted", "open"]
    assert listed == {"Admin": everything, "Op": everything, "User": without, "Viewer": without, "Team": ["granted"]}
    assert found["User"]["editable"] == without


def test_configuration_names_the_manager_and_airflow_takes_it_for_fabs():
    text = (ROOT / "config" / "airflow.cfg").read_text(encoding="utf-8")

    [name] = re.findall(r"^auth_manager = (.+)$", text, flags=re.MULTILINE)
    # Airflow hands a DAG's access_control on only where it finds these letters.
    assert (name.rpartition(".")[0], "FabAuthManager" in name) == ("windrose.auth_manager", True)
