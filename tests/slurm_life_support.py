"""One Slurm task in a database of Airflow's own, run as a worker runs it: tries, retries, clears, and its trigger.

To be imported in a process whose AIRFLOW_HOME is nobody's: it makes the database.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from uuid import UUID

from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, timezone
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.api.datamodels._generated import TaskInstance as TaskOfSDK
from airflow.sdk.execution_time import supervisor
from airflow.sdk.serde import deserialize, serialize
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.state.metastore import TaskStateStoreModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select
from windrose.operators.slurm import SlurmOperator


class Gone(BaseException):
    """The process dies here, as by SIGKILL: nothing of ours runs any more."""


def make_database() -> None:
    """Make the database."""
    initdb()
    with create_session() as session:
        session.add(DagBundleModel(name="tests"))


class Life:
    """One task of one run."""

    def __init__(self, name, **settings):
        self.name, self.states, self.deferred, self.error, self.event = name, [], None, "", {}
        self.write(**settings)
        self.begin()

    def write(self, tasks=("job",), **settings):
        """Write the DAG file, or another version of it."""
        settings = {"platform": "hpc", **({} if "script_file" in settings else {"command": "true"}), **settings}
        with DAG(self.name, schedule=None) as dag:
            for task in tasks:
                SlurmOperator(task_id=task, **settings)
            SlurmOperator.partial(task_id="mapped", platform=settings["platform"]).expand(command=["true", "false"])
        self.dag = dag
        self.known = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        with create_session() as session:
            written = LazyDeserializedDAG.from_dag(dag)
            SerializedDAG.bulk_write_to_db("tests", None, [written], session=session)
            SerializedDagModel.write_dag(written, bundle_name="tests", session=session)

    def begin(self):
        """Trigger a run; always under the same id."""
        with create_session() as session:
            self.known.create_dagrun(
                run_id="manual__1",
                run_after=timezone.utcnow(),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )

    @contextmanager
    def row(self, task="job"):
        """Change the task's row in the database."""
        name, _, index = task.partition("/")
        with create_session() as session:
            ti = session.scalar(
                select(TaskInstance).filter_by(dag_id=self.name, task_id=name, map_index=int(index or -1))
            )
            ti.task = self.known.get_task(name)
            yield ti
            session.merge(ti)

    def try_it(self, task="job", *, resumed=False):
        """Run the task as a worker does; remember in which state it left it."""
        with self.row(task) as ti:
            if not resumed:
                ti.try_number += 1
            ti.state = TaskInstanceState.QUEUED
        names = ("task_id", "dag_id", "run_id", "try_number", "map_index")
        self.what = TaskOfSDK(
            id=UUID(str(ti.id)), dag_version_id=UUID(str(ti.dag_version_id)), **{n: getattr(ti, n) for n in names}
        )
        done = supervisor.run_task_in_process(ti=self.what, task=self.dag.get_task(self.what.task_id))
        self.deferred = done.msg if done.state == TaskInstanceState.DEFERRED else None
        self.error = str(done.error) if done.error else ""
        if self.deferred is not None:
            with self.row(task) as ti, suppress(AttributeError):
                ti.state = TaskInstanceState.DEFERRED
                ti.next_method, ti.next_kwargs = self.deferred.next_method, self.deferred.next_kwargs
        self.states.append(self.state(task))
        return self

    def wait(self, task="job"):
        """Run the trigger, and resume the task with what it says."""
        kwargs = deserialize(self.deferred.trigger_kwargs)
        event = supervisor.InProcessTestSupervisor.run_trigger_in_process(
            trigger=import_string(self.deferred.classpath)(**kwargs), ti=self.what
        )
        return self.fire(event.payload, task)

    def end(self, state="COMPLETED", *, task="job", ended="slurm"):
        """Let the trigger fire."""
        store = self.stored(task)
        facts = {"state": state, "code": 0 if state == "COMPLETED" else 1, "source": "accounting"}
        event = {"token": store["token"], "job_id": store["job_id"], "folder": store["folder"], "facts": facts}
        event |= {"record": None, "ended": ended, "tail": {"out": ["made 3"], "err": ["no"]}, "log_bytes": 1}
        return self.fire(event, task)

    def fire(self, event, task="job"):
        """Resume the task with an event."""
        self.event = event
        with self.row(task) as ti:
            ti.next_kwargs = {**(ti.next_kwargs or {}), **serialize({"event": event})}
        return self.try_it(resumed=True, task=task)

    def returned(self, task="job", key="return_value"):
        """Return what the task has returned."""
        with create_session() as session:
            found = session.scalar(select(XComModel).filter_by(dag_id=self.name, task_id=task, key=key))
            return XComModel.deserialize_value(found) if found else None

    def state(self, task="job"):
        with self.row(task) as ti:
            return str(ti.state.value if hasattr(ti.state, "value") else ti.state)

    def stored(self, task="job"):
        """Return what is written down."""
        name, _, index = task.partition("/")
        where = {"dag_id": self.name, "task_id": name, "map_index": int(index or -1), "key": "slurm"}
        with create_session() as session:
            found = session.scalar(select(TaskStateStoreModel).filter_by(**where))
            return {**json.loads(found.value), "expires": found.expires_at} if found else {}

    def clear(self, task="job", *, running=False):
        """Clear the task, as the button does."""
        with create_session() as session:
            ti = session.scalar(select(TaskInstance).filter_by(dag_id=self.name, task_id=task))
            if running:
                ti.state = TaskInstanceState.RUNNING
            clear_task_instances([ti], session)
            session.merge(ti)
        return self

    def scheduler_finds_it_dead(self, task="job"):
        """Do what the scheduler does about a task without a heartbeat, or one that was being restarted."""
        with self.row(task) as ti:
            ti.handle_failure("no heartbeat")
        return self
