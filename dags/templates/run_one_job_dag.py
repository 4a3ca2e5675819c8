"""Runs an image as it is: pick one in the form, and its own command runs.

## What it does
Starts a container from the image that the form names, shows what it writes as it writes it, and removes it in the end.
A new version of the job is a new tag in the form, never a new DAG.

## Needs
Container jobs: `JOB_IMAGES` in `.env` with a pattern that the image matches, then `make up`. For a private registry a
`docker` connection (in `secrets.yaml`, or by hand). For Admin and Op only.

## Parameters
- `repo_name`, `image_name`, `image_tag`: together the image, `repo_name/image_name:image_tag`; `repo_name` may begin
  with a registry.
- `registry_connection`: id of the connection with the registry's login; empty for a public one.
- `fail`: asks for a tag that does not exist.

## Try it
With `JOB_IMAGES=registry.example.org/docker-snapshots/*` in `.env`, and `make up` after it:

    make trigger DAG=template-run-one-job WAIT=1 \\
        CONF='{"repo_name": "registry.example.org/docker-snapshots", "image_name": "my-job", "image_tag": "0.0.9-dev"}'

## Result
The log of `run-job` is the job's output; its return value is the last line of its standard
output.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP
from windrose.operators.docker import DockerJobOperator

with DAG(
    dag_id="template-run-one-job",
    description="Runs an image as it is: pick one in the form, and its own command runs.",
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
            "template-run-one-job", type="string", minLength=1, title="Image", description="Name of the image."
        ),
        "image_tag": Param(
            "0.0.9-dev", type="string", minLength=1, title="Tag", description="Version of the image to run."
        ),
        "registry_connection": Param(
            None,
            type=["null", "string"],
            title="Registry connection",
            description="Id of a docker connection that logs in to a private registry; empty: none.",
        ),
        "fail": Param(False, type="boolean", title="Fail on purpose", description="Ask for a tag that does not exist."),
    },
):
    DockerJobOperator(
        task_id="run-job",
        image=(
            "{{ params.repo_name ~ '/' if params.repo_name else '' }}{{ params.image_name }}:{{ params.image_tag }}"
            "{{ '-that-does-not-exist' if params.fail else '' }}"
        ),
        docker_conn_id="{{ params.registry_connection or '' }}",
    )
