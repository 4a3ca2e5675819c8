"""The lives of Slurm tasks on a real cluster. A program; writes what happened in each life as JSON.

The connection `hpc-demo` is in the environment. Lives that only wait are begun before any of them is waited for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from windrose.data_folder import data_folder
from windrose.hooks.slurm import SlurmHook
from windrose.slurm import submitting

from tests.slurm_life_support import Gone, Life, make_database

PLATFORM = "hpc-demo"
SCRIPT = """#!/usr/bin/perl
print "arguments @ARGV {{ params.word }}\n";
print "from $ENV{GREETING} ", '{% raw %}${#array[@]}{% endraw %}', "\n";
"""
STARTED = {
    "completes": {"command": "echo working; cat in.txt; echo made > made.csv; echo '{\"made\": 3}'"},
    "fails": {"command": "echo about to break; echo 'first cause' >&2; echo 'it is broken' >&2; exit 3"},
    "script": {
        "script_file": "data/jobs/work.py",
        "arguments": ["a b", "$(id)"],
        "environment": {"GREETING": 'O\'Neill "x" `id`\n$HOME'},
        "params": {"word": "in"},
        "time": 2,
        "partition": "debug",
        "array": "",  # as a form leaves it
    },
    "array": {"command": "echo element $SLURM_ARRAY_TASK_ID; [ $SLURM_ARRAY_TASK_ID != 2 ]", "array": "0-2"},
    "late": {"command": "sleep 600", "timeout": 0.05},
    "refused": {"command": "true", "partition": "nowhere"},
    "missing": {"command": "true", "inputs": ["data/in/nothing-*.txt"]},
}


def named(name):
    """Return the name of a DAG that no other run of this program has."""
    return f"{name}-{os.getpid()}"


def begin(name):
    """Begin a life; where it has files, they are there."""
    settings = dict(STARTED[name])
    if name == "completes":
        settings |= {"inputs": {"data/in/in.txt": "in.txt"}, "outputs": {"*.csv": "data/out/"}}
    return Life(named(name), platform=PLATFORM, **settings).try_it()


def told(one):
    """Return what became of a life."""
    known = {"states": one.states, "error": one.error, "returned": one.returned(), "record": one.stored()}
    return {**known, "tail": one.event["tail"]["out"] if one.event else []}


def killed():
    """The worker dies when the cluster has the job, and before it has said so."""
    one = Life(named("killed"), platform=PLATFORM, command="echo once")
    whole = submitting.submit

    async def deadly(cluster, job, **how):
        await whole(cluster, job, **how)
        raise Gone

    submitting.submit = deadly
    one.try_it()
    submitting.submit = whole
    return told(one.try_it().wait())


def cleared():
    """A person clears the task while its job runs; the triggerer is down."""
    one = Life(named("cleared"), platform=PLATFORM, command="sleep 600").try_it()
    first = one.stored()
    second = one.clear().try_it().stored()

    async def cancel(cluster):
        return await cluster.cancel(second["token"], second["job_id"])

    asyncio.run(submitting.using(SlurmHook(PLATFORM).cluster(), cancel))
    return {"first": first, **told(one.wait())}


def main(file):
    """Live them all."""
    (data_folder() / "in").mkdir(parents=True)
    (data_folder() / "jobs").mkdir()
    (data_folder() / "in" / "in.txt").write_text("from data/\n")
    (data_folder() / "jobs" / "work.py").write_text(SCRIPT)
    make_database()
    wanted = sys.argv[2:]
    begun = {name: begin(name) for name in STARTED if not wanted or name in wanted}
    lives = {name: told(one.wait() if one.deferred else one) for name, one in begun.items()}
    lives |= {
        function.__name__: function() for function in (killed, cleared) if not wanted or function.__name__ in wanted
    }
    lives["copied"] = {path.name: path.read_text() for path in data_folder().glob("out/*")}
    Path(file).write_text(json.dumps(lives, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
