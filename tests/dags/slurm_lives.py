"""The lives of a Slurm task, with a cluster that counts. A program; writes what happened in each life as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from windrose.operators.slurm import SlurmOperator
from windrose.slurm import submitting
from windrose.slurm.model import ClusterError, Platform, Refused, Submitted, Unsure

from tests.slurm_life_support import Gone, Life, make_database

LIVES = []


class Counting:
    """A cluster that has every job once, and counts."""

    def __init__(self):
        self.jobs, self.cancelled, self.mood = {}, [], ""
        self.before_kill = lambda: None

    async def submit(self, job):
        if self.mood == "away":
            raise ClusterError("hpc does not answer.")
        if self.mood == "refusing":
            return Refused("sbatch: error: Invalid account")
        if self.mood == "silent":
            return Unsure("Nobody knows yet.", 200.0)
        fresh = job.token not in self.jobs
        if self.mood == "slow":
            await asyncio.sleep(20)
        job_id = self.jobs.setdefault(job.token, str(100 + len(self.jobs)))
        if self.mood == "deadly":
            raise Gone
        if self.mood == "killing":
            # As the supervisor does, in whose place this process is; the signal reaches the main thread.
            self.before_kill()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(1)
        return Submitted(job_id, f"/scratch/.windrose/{job.token}", fresh)

    async def cancel(self, token, job_id=""):
        if self.mood == "away":
            raise ClusterError("hpc does not answer.")
        self.cancelled.append(self.jobs.get(token, token))
        return job_id

    async def close(self):
        pass


class Counted(Life):
    """A life with a cluster of its own."""

    def __init__(self, name, **settings):
        self.cluster = Counting()
        SlurmOperator.hook = lambda operator, platform: self.hook()
        super().__init__(name, **settings)

    def hook(self):
        return SimpleNamespace(platform=Platform("hpc"), cluster=lambda: self.cluster)

    def in_mood(self, mood):
        """Let the cluster do something else at the next try alone."""
        self.cluster.mood = mood
        return self

    def try_it(self, task="job", *, resumed=False):
        SlurmOperator.hook = lambda operator, platform: self.hook()
        super().try_it(task, resumed=resumed)
        return self.in_mood("")

    def told(self, **more):
        """Return what became of it."""
        jobs, cancelled = len(self.cluster.jobs), len(self.cluster.cancelled)
        return {"states": self.states, "jobs": jobs, "cancelled": cancelled, "error": self.error, **more}


def life(function):
    """Tell of one more life."""
    LIVES.append(function)
    return function


@life
def job_that_completes():
    one = Counted("completes").try_it()
    trigger = one.deferred.trigger_kwargs
    expires = one.stored()["expires"]
    one.end()
    return one.told(trigger=trigger, expires=expires, record=one.stored())


@life
def worker_killed_as_the_cluster_has_the_job():
    one = Counted("killed").in_mood("deadly").try_it().try_it()
    return one.told(held=one.stored()["held"])


@life
def retries_changed_in_the_file_between_two_tries():
    one = Counted("edited", retries=3).in_mood("deadly").try_it()
    one.write(retries=1)
    return one.try_it().told()


@life
def job_that_failed():
    return (one := Counted("failed").try_it().end("FAILED")).told(record=one.stored())


@life
def node_that_failed():
    return (Counted("node").try_it().end("NODE_FAIL").try_it()).told()


@life
def deferred_task_cleared():
    return (Counted("cleared").try_it().clear().try_it()).told()


@life
def successful_task_cleared():
    return (Counted("again").try_it().end().clear().try_it()).told()


@life
def failed_task_cleared_twice():
    one = Counted("twice").try_it().end("FAILED").clear().try_it().end("FAILED").clear().try_it()
    return one.told()


@life
def task_cleared_while_it_submits():
    """Airflow does not raise max_tries then; the worker dies, so that no kill of ours cancels the job."""
    one = Counted("restarted").in_mood("deadly").try_it()
    before = one.stored()["max_tries"]
    one.clear(running=True).scheduler_finds_it_dead().try_it()
    return one.told(raised=one.stored()["max_tries"] - before)


@life
def another_task_of_the_run_cleared():
    one = Counted("sibling", tasks=("job", "other")).try_it().try_it(task="other").clear("other").end()
    two = Counted("siblings", tasks=("job", "other")).try_it(task="other").in_mood("away").try_it()
    two.clear("other").fire({}).end()
    return {"one": one.told(), "two": two.told()}


@life
def run_deleted_and_made_again():
    one = Counted("deleted").try_it()
    with create_session() as session:
        session.delete(session.scalar(select(TaskInstance).filter_by(dag_id="deleted")).dag_run)
    left = one.stored()
    one.begin()
    return one.try_it().told(left=left)


@life
def cluster_away_and_back():
    one = Counted("away").in_mood("away").try_it()
    wait = one.deferred
    one.fire({})
    return one.told(waits=wait.classpath, seconds=wait.trigger_kwargs["seconds"], then=one.deferred.classpath)


@life
def cluster_away_for_too_long():
    one = Counted("patient", patience=timedelta(seconds=-1)).in_mood("away").try_it()
    return one.told()


@life
def cleared_while_the_cluster_is_away():
    one = Counted("unreachable").try_it().clear().in_mood("away").try_it()
    before = one.told()
    return {"before": before, "after": one.fire({}).told()}


@life
def refused_job():
    return (one := Counted("refused").in_mood("refusing").try_it()).told(record=one.stored())


@life
def task_marked_failed_while_it_submits():
    one = Counted("marked")

    def mark():
        with one.row() as ti:
            ti.state = TaskInstanceState.FAILED

    one.cluster.before_kill = mark
    with suppress(Exception):
        one.in_mood("killing").try_it()
    return one.told()


@life
def process_stopped_while_it_submits():
    return (Counted("stopped").in_mood("killing").try_it()).told()


@life
def mapped_tasks_have_a_job_each():
    one = Counted("mapped").in_mood("deadly").try_it(task="mapped/0").try_it(task="mapped/1").try_it(task="mapped/0")
    tokens = {one.stored(f"mapped/{index}")["token"] for index in (0, 1)}
    return one.told(tokens=len(tokens))


@life
def execution_timeout_while_it_submits():
    one = Counted("late", execution_timeout=timedelta(seconds=10)).in_mood("slow").try_it()
    return one.try_it().told()


def main(file):
    """Live them all."""
    submitting.IN_SLOT = 0.0
    make_database()
    wanted = sys.argv[2:]
    told = {function.__name__: function() for function in LIVES if not wanted or function.__name__ in wanted}
    Path(file).write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
