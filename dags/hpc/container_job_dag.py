"""Runs a command in a container image on a cluster, by Apptainer: the same software on every machine.

## What it does
Submits one Slurm job that runs `apptainer exec` with the image of the form: a file on the cluster, or an address that
Apptainer fetches. The job's folder is bound into the container, graphics cards are passed on where the job asks for
some, and the rest of the file system is what the site binds by default.

## Needs
A platform with Slurm in `secrets.yaml`, and Apptainer (or Singularity) on its compute nodes. `make demo` makes the
platform `hpc-demo`, which has only a stand-in: it says so, and runs the command without a container. For Admin and Op
only, because it runs what its form says.

## Parameters
- `platform`: id of the platform, such as `hpc-lumi`.
- `image`: path of a `.sif` file on the cluster, or an address such as `docker://python:3.13-slim`.
- `command`: what runs in it; one or more lines for the image's `sh`.
- `binds`: folders of the cluster to bind, with blanks between them: `/scratch/data:/data:ro`.
- `options`: more options of `apptainer exec`, with blanks between them: `--cleanenv`.
- `time`, `cpus`, `memory`, `gpus`: what the job asks for; empty: what the cluster gives by itself.

## Try it
`make trigger DAG=hpc-container-job CONF='{"image": "docker://debian:trixie-slim"}' WAIT=1`

## Result
The log of `run_in_container` shows what the container wrote; it returns the facts of the job. The command line as it
was run stands in `job.sh` in the job's folder.
"""

from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP
from windrose.operators.slurm import SlurmOperator

TEXT = {"type": "string", "pattern": r"^[^\n]*$"}

with DAG(
    dag_id="hpc-container-job",
    description="Runs a command in a container image on a cluster, by Apptainer: the same software on every machine.",
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
        "image": Param(
            "docker://debian:trixie-slim",
            **TEXT,
            minLength=1,
            title="Image",
            description="Path of a .sif file on the cluster, or an address for Apptainer",
        ),
        "command": Param(
            "grep PRETTY_NAME /etc/os-release\nuname -srm",
            type="string",
            format="multiline",
            minLength=1,
            title="Command",
            description="What runs in it",
        ),
        "binds": Param("", **TEXT, title="Binds", description="Folders, such as /scratch/data:/data:ro"),
        "options": Param("", **TEXT, title="Options", description="Of apptainer exec, such as --cleanenv"),
        "time": Param("00:10:00", **TEXT, title="Time limit", description="HH:MM:SS or D-HH:MM:SS"),
        "cpus": Param(None, type=["null", "integer"], minimum=1, title="CPUs", description="How many"),
        "memory": Param("", **TEXT, title="Memory", description="On the node, such as 4G"),
        "gpus": Param("", **TEXT, title="GPUs", description="A number, or type and number such as a100:2"),
    },
    tags=["hpc", "slurm", "container"],
):
    SlurmOperator(
        task_id="run_in_container",
        platform="{{ params.platform }}",
        command="{{ params.command }}",
        container={
            "image": "{{ params.image }}",
            "binds": "{{ params.binds }}",
            "options": "{{ params.options }}",
        },
        time="{{ params.time }}",
        cpus="{{ params.cpus or '' }}",
        memory="{{ params.memory }}",
        gpus="{{ params.gpus }}",
    )
