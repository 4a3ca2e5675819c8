"""What SlurmOperator makes of its arguments, and of what its trigger tells it."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from windrose.operators.slurm import SlurmOperator
from windrose.slurm import intent as intents
from windrose.slurm import result
from windrose.slurm.model import Platform
from windrose.triggers.slurm_wait import SlurmWaitTrigger

HPC = Platform("hpc", account="project_1", partition="small", environment={"SITE": "here"})
NOW = intents.Now(3, 3, 0)
# What must come back as it was written, through sbatch's directives, a shell and Airflow's own templates.
HOSTILE = ["$(touch /tmp/x)", "`id`", "'; exit 1; '", 'a "b" \\ c', "two\nlines", "{folder}", "ü ☃", "-n", "* ?"]


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_WINDROSE_INSTALLATION", "ours")
    (tmp_path / "job.sh").write_text("#!/bin/sh\necho {{ params.n }} {% raw %}${#a[@]}{% endraw %}\n")
    (tmp_path / "broken.sh").write_text("#!/bin/bash\necho ${#a[@]}\n")
    ti = SimpleNamespace(dag_id="a dag", task_id="job", run_id="manual__1", map_index=-1)
    return {"ti": ti, "dag": SimpleNamespace(fileloc=str(tmp_path / "dag.py")), "params": {"n": 3}}


def job_of(context, **arguments):
    """Return the job of an operator with these arguments."""
    operator = SlurmOperator(task_id="job", **{"platform": "hpc", **arguments})
    return operator.job(context, intents.begin("hpc", "a dag", "job", NOW), HPC)


def directives(job):
    """Return the #SBATCH lines of a job."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", job.script, flags=re.MULTILINE))


def test_defaults_are_the_platform_s_and_what_is_said_wins(context):
    default = directives(job_of(context, command="true"))
    said = directives(
        job_of(
            context,
            command="true",
            partition="large",
            time=timedelta(hours=30),
            nodes="2",
            memory="4G",
            array="0-3%2",
            extra_directives={"hint": "nomultithread"},
        )
    )

    assert (default["account"], default["partition"]) == ("project_1", "small")
    assert (said["account"], said["partition"], said["time"], said["nodes"]) == (
        "project_1",
        "large",
        "1-06:00:00",
        "2",
    )
    assert (said["mem"], said["array"], said["hint"]) == ("4G", "0-3%2", "nomultithread")
    assert said["output"].endswith("/out.%a")


def test_job_says_whose_it_is(context):
    job = job_of(context, command="true")

    assert job.origin == {
        "installation": "ours",
        "dag_id": "a dag",
        "task_id": "job",
        "run_id": "manual__1",
        "map_index": -1,
    }
    assert re.fullmatch(r"wr\.a-dag-job\.[a-z2-7]{20}", job.name)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_of_the_environment_is_read_by_a_shell(context, tmp_path, text):
    job = job_of(context, command='printf %s "$VALUE"', environment={"VALUE": text})

    folder = tmp_path / "folder"
    (folder / "work").mkdir(parents=True)
    (folder / "job.sh").write_text(job.script.replace("{folder}", str(folder)))
    done = subprocess.run(["bash", folder / "job.sh"], capture_output=True, text=True, timeout=20, check=True)

    assert done.stdout == text


def test_script_file_lies_beside_the_dag_and_its_templates_are_filled_in(context):
    assert job_of(context, script_file="job.sh").payload == "#!/bin/sh\necho 3 ${#a[@]}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "nothing to run is given"),
        ({"command": "a", "script": "b"}, "command and script is given"),
        ({"script_file": "../../etc/hostname"}, "leads out of dags/ and data/"),
        ({"script_file": "missing.sh"}, "there is no script missing.sh"),
        ({"script_file": "broken.sh"}, "put {% raw %} and {% endraw %} around"),
        ({"command": "a", "time": "soon"}, "time is 'soon'"),
        ({"command": "a", "cpus": "-1"}, "cpus is '-1'"),
        ({"command": "a", "environment": "{"}, "environment is not JSON"),
        ({"command": "a", "timeout": "x"}, "timeout is 'x'"),
        ({"command": "a", "partition": "x\n#SBATCH --uid=0"}, "line break"),
    ],
)
def test_value_that_cannot_be_used_is_told_before_anything_is_submitted(context, arguments, sentence):
    with pytest.raises(AirflowFailException, match=re.escape(sentence)):
        job_of(context, **arguments)


def test_command_that_ends_in_sh_is_no_template_file():
    with DAG("templates", schedule=None):
        operator = SlurmOperator(
            task_id="job", platform="{{ params.where }}", command="run-{{ params.n }}.sh", array="0-{{ params.n }}"
        )
    operator.render_template_fields({"params": {"n": 3, "where": "hpc"}})

    assert (operator.platform, operator.command, operator.array) == ("hpc", "run-3.sh", "0-3")


def test_retries_come_from_the_dag_where_it_says_so():
    with DAG("defaults", schedule=None, default_args={"retries": 7}):
        from_dag = SlurmOperator(task_id="a", platform="hpc", command="true")
        own = SlurmOperator(task_id="b", platform="hpc", command="true", retries=1)

    alone = SlurmOperator(task_id="c", platform="hpc", command="true")
    assert (from_dag.retries, own.retries, alone.retries) == (7, 1, 3)


@pytest.mark.parametrize(
    ("limit", "seconds"), [({"timeout": 5}, 300), ({"execution_timeout": timedelta(hours=1)}, 3600), ({}, 0)]
)
def test_timeout_is_that_of_the_job_else_that_of_the_task(context, limit, seconds):
    operator = SlurmOperator(task_id="job", platform="hpc", command="true", **limit)
    operator.job(context, intents.begin("hpc", "a dag", "job", NOW), HPC)

    assert operator.limit == seconds


def event(ended="slurm", *, out=(), err=(), record=None, **facts):
    """Return what a trigger fires."""
    return {"ended": ended, "facts": facts or None, "record": record, "tail": {"out": [*out], "err": [*err]}}


def outcome(happened, retry_states=result.RETRY_STATES):
    """Return what comes of it."""
    known = intents.begin("hpc", "a dag", "job", NOW)
    known.job_id, known.folder = "7", "/scratch/.windrose/x"
    return result.outcome_of(happened, known, retry_states)


@pytest.mark.parametrize(
    ("lines", "returned"),
    [
        (["a", '{"n": [1, 2.5]}', ""], {"n": [1, 2.5]}),
        (["done: 3 files"], "done: 3 files"),
        (["NaN"], "NaN"),
        (["{broken"], "{broken"),
        # What neither the way to Airflow nor a database takes as JSON stays text.
        (["[" * 4000], "[" * 4000),
        (["1e999"], "1e999"),
        ([r'"\ud800"'], r'"\ud800"'),
        ([r'{"a": "\u0000"}'], r'{"a": "\u0000"}'),
        (["  "], None),
        ([], None),
    ],
)
def test_last_line_of_the_output_is_the_result(lines, returned):
    assert outcome(event(state="COMPLETED", out=lines)).facts["result"] == returned


@pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED"])
def test_end_that_says_nothing_of_the_job_is_retried(state):
    assert outcome(event(state=state)).may_retry
    assert not outcome(event(state=state), retry_states=()).may_retry


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "DEADLINE"])
def test_other_bad_end_is_not_retried_unless_the_task_wants_it(state):
    told = outcome(event(state=state))

    assert (told.is_good, told.may_retry) == (False, False)
    assert outcome(event(state=state), retry_states=[state]).may_retry


def test_record_of_the_job_itself_decides_where_slurm_does_not_say():
    well = outcome(event("record", record={"code": 0}))
    badly = outcome(event("record", record={"code": 9, "elements": 4, "failed": 2}, err=["why"]))

    assert (well.is_good, well.facts["state"]) == (True, "COMPLETED")
    assert (badly.is_good, badly.facts["exit_code"]) == (False, 9)
    assert "2 of 4 elements" in badly.says
    assert badly.says.endswith("\nwhy")


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [({"state": "CANCELLED"}, "was cancelled, because"), ({"state": "RUNNING"}, "is not known"), ({}, "is not known")],
)
def test_job_that_took_too_long_fails(facts, sentence):
    told = outcome(event("deadline", **facts), retry_states=["CANCELLED", "RUNNING", ""])

    assert (told.is_good, told.may_retry) == (False, False)
    assert sentence in told.says


def test_state_that_nobody_knows_is_no_success():
    assert not outcome(event(state="SHINY")).is_good
    assert not outcome(event()).is_good


def test_wait_trigger_survives_its_serialization():
    path, kwargs = SlurmWaitTrigger("hpc", "t", 30.0).serialize()

    assert path == "windrose.triggers.slurm_wait.SlurmWaitTrigger"
    assert SlurmWaitTrigger(**kwargs).serialize() == (path, kwargs)
