"""Runs the script of the form as a Slurm job on a platform: any script, any resources.

## What it does
Submits the job once, lets go of its slot while the job waits and runs, shows the job's output in its log as it comes,
and ends as the job ends. A retry, or a restart of any part of the stack, goes on with the same job; clearing the task
cancels the job and submits a new one; stopping the task cancels the job.

## Needs
A platform with Slurm in `secrets.yaml`; `make demo` makes one, `hpc-demo`. Only the roles Admin and Op see this DAG,
because it runs what its form says.

## Parameters
- `platform`: id of the platform, such as `hpc-lumi`.
- `script`: what the batch system runs there, with its `#!` line. Write no secret into it: the form is kept.
- `arguments`: words that the script gets.
- `account`, `partition`, `qos`: empty: as `secrets.yaml` or the cluster says.
- `time`: limit of the job, `HH:MM:SS` or `D-HH:MM:SS`.
- `nodes`, `tasks`, `cpus`, `memory`, `gpus`: what it asks for; empty: what the cluster gives by itself.
- `array`: indices such as `0-9%2`, one element each; empty: a job without elements.
- `modules`: names for `module load`.
- `container`: image that Apptainer runs the script in; empty: none.
- `inputs`: a line each, `address` or `address -> target`: files for the job, copied before.
- `outputs`: a line each in the same form: files of the job, copied after a good end.
- `minutes`: the job is cancelled after so many minutes, waiting included; empty: never.

## Try it
`make trigger DAG=hpc-run-one-job CONF='{"platform": "hpc-demo", "time": "00:02:00"}' WAIT=1`

## Result
`run_job` returns the facts of the job: its id, state, exit code, seconds, nodes, memory, where its log lies, which
outputs were copied, and what its last line said.
"""

from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP
from windrose.operators.slurm import SlurmOperator

SCRIPT = """\
#!/bin/bash
echo "$(whoami) on $(hostname), partition ${SLURM_JOB_PARTITION:-none}"
for step in 1 2 3; do
    echo "step $step"
    sleep 2
done
echo '{"steps": 3}'
"""
TEXT = {"type": "string", "pattern": r"^[^\n]*$"}
NUMBER = {"type": ["null", "integer"], "minimum": 1}

with DAG(
    dag_id="hpc-run-one-job",
    description="Runs the script of the form as a Slurm job on a platform: any script, any resources.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    params={
        "platform": Param(
            "hpc-demo", **TEXT, minLength=1, title="Platform", description="Id of a platform with Slurm, like hpc-lumi"
        ),
        "script": Param(
            SCRIPT, type="string", format="multiline", minLength=1, title="Script", description="What the job runs"
        ),
        "arguments": Param("", **TEXT, title="Arguments", description="Words that the script gets"),
        "account": Param("", **TEXT, title="Account", description="Project that pays; empty: the platform's"),
        "partition": Param("", **TEXT, title="Partition", description="Queue; empty: the platform's"),
        "qos": Param("", **TEXT, title="QOS", description="Quality of service; empty: the account's"),
        "time": Param(
            "00:10:00", **TEXT, title="Time limit", description="HH:MM:SS or D-HH:MM:SS; empty: the partition's"
        ),
        "nodes": Param(None, **NUMBER, title="Nodes", description="How many machines"),
        "tasks": Param(None, **NUMBER, title="Processes", description="How many in all"),
        "cpus": Param(None, **NUMBER, title="CPUs", description="For each process"),
        "memory": Param("", **TEXT, title="Memory", description="On each node, such as 4G"),
        "gpus": Param("", **TEXT, title="GPUs", description="In all: a number, or type and number such as a100:2"),
        "array": Param("", **TEXT, title="Array", description="Indices such as 0-9%2"),
        "modules": Param("", **TEXT, title="Modules", description="Names for `module load`"),
        "container": Param("", **TEXT, title="Container", description="Image to run the script in, by Apptainer"),
        "inputs": Param(
            "",
            type="string",
            format="multiline",
            title="Inputs",
            description="A line each: data/in/*.csv, allas:bucket/key, or one of them -> target",
        ),
        "outputs": Param(
            "",
            type="string",
            format="multiline",
            title="Outputs",
            description="A line each: results/*.csv, or results/*.csv -> data/out/",
        ),
        "minutes": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            title="Minutes",
            description="Cancel it after so many minutes, waiting included",
        ),
    },
    tags=["hpc", "slurm", "job"],
):
    SlurmOperator(
        task_id="run_job",
        platform="{{ params.platform }}",
        script="{{ params.script }}",
        arguments="{{ params.arguments }}",
        account="{{ params.account }}",
        partition="{{ params.partition }}",
        qos="{{ params.qos }}",
        time="{{ params.time }}",
        nodes="{{ params.nodes or '' }}",
        tasks="{{ params.tasks or '' }}",
        cpus="{{ params.cpus or '' }}",
        memory="{{ params.memory }}",
        gpus="{{ params.gpus }}",
        array="{{ params.array }}",
        modules="{{ params.modules }}",
        container="{{ params.container }}",
        inputs="{{ params.inputs }}",
        outputs="{{ params.outputs }}",
        timeout="{{ params.minutes or '' }}",
    )
