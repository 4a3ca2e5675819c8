"""Runs a command in an allowed image, with the folders, CPUs, memory and GPUs that the form asks for.

## What it does
Starts a container, runs the command of the form in it with `sh -cx`, shows what it writes as it writes it, and removes
the container in the end. Killing the task, or losing its worker, ends the job.

## Needs
Container jobs: `JOB_IMAGES` in `.env` with a pattern that the image matches, then `make up`; `JOB_MOUNTS` and `JOB_NFS`
for folders and NFS. The image must have a shell. For Admin and Op only.

## Parameters
- `repo_name`, `image_name`, `image_tag`: together the image, `repo_name/image_name:image_tag`.
- `command`: passed on as it is, pipes and variables included.
- `environment`: names and values. A password does not belong there: it would be kept with the run.
- `secrets`: connections whose fields the job finds in its environment: `data-results` gives `DATA_RESULTS_PASSWORD`,
  `_LOGIN`, `_HOST`, `_PORT` and `_SCHEMA`.
- `mounts`: one a line; `/folder:/inside:ro` is a folder of the machine, `server:/export:/inside` is NFS,
  `job-name:/inside` a volume that is made when it is missing.
- `cpus`: a hard quota; the job never gets more.
- `memory`: such as `512m`; beyond it the job is ended.
- `gpus`: how many, or `all`.
- `registry_connection`: id of the connection with the registry's login; empty for a public one.
- `fail`: ends with code 3 instead of running the command.

## Try it
With `JOB_IMAGES=debian:*` in `.env`, and `make up` after it:

    make trigger DAG=template-run-one-job-command WAIT=1 \\
        CONF='{"repo_name": "", "image_name": "debian", "image_tag": "trixie", "command": "nproc; free -m"}'

## Result
The log of `run-job` is the job's output; its return value is the last line of its standard
output.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP
from windrose.operators.docker import DockerJobOperator

with DAG(
    dag_id="template-run-one-job-command",
    description="Runs a command in an allowed image, with the folders, CPUs, memory and GPUs that the form asks for.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    tags=["job", "template"],
    default_args={"retries": 1, "retry_delay": timedelta(minutes=2)},
    params={
        "repo_name": Param(
            "docker-snapshots",
            type="string",
            title="Repository",
            description="What stands before the image's name; may begin with a registry: example.org:5000/team.",
        ),
        "image_name": Param(
            "demo-run-one-job", type="string", minLength=1, title="Image", description="Name of the image."
        ),
        "image_tag": Param(
            "0.0.1-dev", type="string", minLength=1, title="Tag", description="Version of the image to run."
        ),
        "command": Param(
            "nproc; free -m; df -h /",
            type="string",
            format="multiline",
            minLength=1,
            title="Command",
            description="Run by sh in the container, as it is.",
        ),
        "environment": Param(
            {},
            type="object",
            title="Environment",
            description="Names and values for the job. No passwords: name a connection below instead.",
        ),
        "secrets": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Connections",
            description="Connections whose login and password the job needs, one a line.",
        ),
        "mounts": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Mounts",
            description="/folder:/inside:ro, server:/export:/inside or job-name:/inside, one a line.",
        ),
        "cpus": Param(
            1.0, type="number", minimum=0.01, title="CPUs", description="A hard quota: the job never gets more."
        ),
        "memory": Param(
            "1g",
            type="string",
            pattern=r"^[0-9]+[kmg]$",
            title="Memory",
            description="Such as 512m or 8g; a job that takes more is ended.",
        ),
        "gpus": Param(
            "0", type="string", pattern=r"^([0-9]+|all)$", title="GPUs", description="How many, or all; 0 for none."
        ),
        "registry_connection": Param(
            None,
            type=["null", "string"],
            title="Registry connection",
            description="Id of a docker connection that logs in to a private registry; empty: none.",
        ),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="End with code 3 instead of the command."
        ),
    },
):
    DockerJobOperator(
        task_id="run-job",
        image="{{ params.repo_name ~ '/' if params.repo_name else '' }}{{ params.image_name }}:{{ params.image_tag }}",
        entrypoint=["sh", "-cx"],
        command=["{{ 'echo failing on purpose; exit 3' if params.fail else params.command }}"],
        environment="{{ params.environment | tojson }}",
        secrets="{{ params.secrets | tojson }}",
        mounts="{{ params.mounts | tojson }}",
        cpus="{{ params.cpus }}",
        mem_limit="{{ params.memory }}",
        gpus="{{ params.gpus }}",
        docker_conn_id="{{ params.registry_connection or '' }}",
    )
