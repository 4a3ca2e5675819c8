"""Do tasks get the pool of their platform? A real Airflow with a database of its own, and the hook of config/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.ssh")
from windrose import pools  # noqa: E402 - only where Airflow is installed

ROOT = Path(__file__).resolve().parents[2]
DAG = """
from airflow.sdk import DAG, Param, task
from windrose.operators.platform import PlatformCommandOperator

FORM = "{{ params.platform }}"
with DAG("logins", schedule=None, params={"platform": Param("hpc-a")}):
    def command(task_id, **fields):
        return PlatformCommandOperator(task_id=task_id, **{"command": "true", **fields})

    @task
    def several():
        return ["1", "2", "3"]

    command("literal", platform="hpc-b")
    command("form", platform=FORM)
    command("other_words", platform="{{ dag_run.conf.get('platform', 'hpc-b') }}")
    command("own_pool", platform=FORM, pool="by-hand")
    command("own_default", platform=FORM, params={"platform": "hpc-b"})
    command("no_such_pool", platform="hpc-z")
    command("at_run_time", platform="{{ ti.xcom_pull('several') }}")
    part = {"command": "true"}
    PlatformCommandOperator.partial(task_id="mapped", platform=FORM).expand(command=several())
    PlatformCommandOperator.partial(task_id="known_number", platform="hpc-b").expand(command=["1", "2"])
    PlatformCommandOperator.partial(task_id="over_platforms", command="true").expand(platform=["hpc-a", "hpc-b"])
"""
DRIVER = """
import json, sys
from airflow import settings
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagRun, TaskInstance
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.pool import Pool
from airflow.models.taskinstance import clear_task_instances
from airflow.models.taskmap import TaskMap
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete, select

def pools_of(session, run_id):
    rows = session.execute(select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.pool)
        .where(TaskInstance.run_id == run_id))
    return {f"{task}{'' if index < 0 else f'[{index}]'}": pool for task, index, pool in rows}

with create_session() as session:
    for name in ("hpc-a", "hpc-b", "by-hand"):
        session.add(Pool(pool=name, slots=8, description="", include_deferred=False))
    session.add(DagBundleModel(name="test"))
bag = DagBag(sys.argv[1], bundle_path=None, bundle_name="test")
assert not bag.import_errors, bag.import_errors
sync_bag_to_db(bag, "test", None)
told = {}
for run_id, conf in (("default", None), ("form", {"platform": "hpc-b"}), ("odd", {"platform": ["hpc-b"]})):
    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag("logins", session=session)
        run = dag.create_dagrun(run_id=run_id, run_after=timezone.utcnow(), conf=conf, run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST, state=DagRunState.RUNNING, session=session)
        told[run_id] = pools_of(session, run_id)
with create_session() as session:
    with prohibit_commit(session) as guard:
        run = session.scalars(select(DagRun).where(DagRun.run_id == "form")).one()
        several = run.get_task_instance("several", session=session)
        several.state = TaskInstanceState.SUCCESS
        session.add(TaskMap("logins", "several", "form", -1, 3, None))
        session.flush()
        TaskMap.expand_mapped_task(dag.get_task("mapped"), "form", session=session)
        told["expanded"] = pools_of(session, "form")
        guard.commit()
with create_session() as session:
    run = session.scalars(select(DagRun).where(DagRun.run_id == "form")).one()
    tis = [ti for ti in run.get_task_instances(session=session) if ti.task_id in ("form", "mapped")]
    for ti in tis:
        ti.state, ti.pool = TaskInstanceState.FAILED, "default_pool"
    session.flush()
    clear_task_instances(tis, session)
    told["cleared"] = pools_of(session, "form")
with create_session() as session:
    run = session.scalars(select(DagRun).where(DagRun.run_id == "form")).one()
    session.execute(delete(TaskInstance).where(TaskInstance.task_id == "known_number"))
    run.dag = dag
    run.verify_integrity(session=session, dag_version_id=run.created_dag_version_id)
    told["verified again"] = pools_of(session, "form")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict[str, str]]:
    """The pool of each task instance, after each thing that Airflow does with one."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "config").symlink_to(ROOT / "config")
    (home / "dag.py").write_text(DAG)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment = {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    for words in (["-m", "airflow", "db", "migrate"], ["-c", DRIVER, str(home / "dag.py")]):
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_task_has_the_pool_of_its_platform_where_it_is_known(told):
    assert told["default"] == {
        "several": "default_pool",
        "literal": "hpc-b",
        "form": "hpc-a",
        "other_words": "hpc-b",
        "own_pool": "by-hand",
        "own_default": "hpc-b",
        "no_such_pool": "default_pool",
        "at_run_time": "default_pool",
        "mapped": "hpc-a",
        "known_number[0]": "hpc-b",
        "known_number[1]": "hpc-b",
        "over_platforms[0]": "default_pool",
        "over_platforms[1]": "default_pool",
    }


def test_form_decides(told):
    filled_in = {"form": "hpc-b", "other_words": "hpc-b", "own_default": "hpc-b", "mapped": "hpc-b"}

    assert told["form"] == told["default"] | filled_in


def test_form_that_no_dag_expects_changes_nothing_but_the_pool(told):
    taken = {name for name, pool in told["odd"].items() if pool == "default_pool"}

    assert taken >= {"form", "other_words", "mapped"}
    assert told["odd"]["literal"] == "hpc-b"


def test_expanded_tasks_have_the_pool_and_nothing_was_committed_on_the_way(told):
    assert {name: pool for name, pool in told["expanded"].items() if name.startswith("mapped")} == {
        "mapped[0]": "hpc-b",
        "mapped[1]": "hpc-b",
        "mapped[2]": "hpc-b",
    }


def test_cleared_tasks_have_the_pool_again(told):
    assert told["cleared"] == told["expanded"]


def test_tasks_keep_their_pool_when_the_run_is_looked_through(told):
    assert told["verified again"] == told["expanded"]


def test_nothing_that_a_task_is_stops_the_scheduler(caplog):
    class Odd:
        pool, _task_module, template_fields, is_mapped = "default_pool", "windrose.x", ("platform",), False

        @property
        def platform(self):
            raise RuntimeError

    for odd in (SimpleNamespace(task=Odd()), SimpleNamespace(task=object()), SimpleNamespace()):
        pools.choose_pool(odd, None)

    assert [record.message.split(" (")[1] for record in caplog.records] == [
        f"{name}); it takes the default one." for name in ("RuntimeError", "AttributeError", "AttributeError")
    ]


def test_database_in_trouble_is_asked_once_in_a_while(monkeypatch):
    asked = []

    def read():
        asked.append(1)
        raise OSError

    monkeypatch.setattr(pools, "read_pool_names", read)
    known = pools.KnownPools()

    with pytest.raises(OSError):
        "a" in known  # noqa: B015
    assert ("a" in known, len(asked)) == (False, 1)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ params.platform }}", "platform"),
        ('{{params["site"]}}', "site"),
        ("{{ params.get('site') }}", "site"),
        ("{{ dag_run.conf['platform'] }}", "platform"),
        ("{{ dag_run.conf.platform }}", "platform"),
        ("{{ params.platform | lower }}", None),
        ("hpc-{{ params.platform }}", None),
        ("{{ params.get }}", None),
    ],
)
def test_templates_that_say_where_the_platform_stands(template, name):
    found = pools.TEMPLATE.fullmatch(template)

    assert (found and (found["dotted"] or found["item"] or found["got"])) == name
