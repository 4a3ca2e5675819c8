"""Run one image as a pod of a Kubernetes cluster; the form says which image.

## What it does
Starts a pod with the image's own command, shows its output as it comes, and deletes the pod when it has ended.
`template-run-one-job` does the same on the machine of this Airflow.

## Needs
- `LIBRARY=all,kubernetes` in `.env`, then `make up`: the folder of this DAG shows only when it is named.
- A platform of the type `kubernetes` in `secrets.yaml`, with a kubeconfig and the namespace of the pods, registered
  with `make connections`: `kubernetes` with `jobs` below it becomes the connection `kubernetes-jobs`.
- In that namespace, a secret of the type `kubernetes.io/dockerconfigjson` with the login of the image registry.

## Parameters
- `connection`: the connection of the cluster.
- `registry`, `repo_name`, `image_name`, `image_tag`: the image, `<registry>/<repo_name>/<image_name>:<image_tag>`.
- `pull_secret`: the secret with the login of the registry.

## Try it
    make trigger DAG=kubernetes-run-one-job CONF='{"image_name": "train", "image_tag": "1.0"}' WAIT=1

## Result
The log of `run_job` shows what the container wrote. A container that ends with another code than 0, or an image that
cannot be pulled within ten minutes, fails the task.
"""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP

NAME = "^[A-Za-z0-9][A-Za-z0-9._/-]*$"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "imagePullSecrets": [{"name": "{{ params.pull_secret }}"}],
        "containers": [{"name": "base"}],
    },
}

with DAG(
    dag_id="kubernetes-run-one-job",
    description="Run one image as a pod of a Kubernetes cluster; the form says which image.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=2)},
    tags=["kubernetes", "job"],
    params={
        "connection": Param(
            "kubernetes-jobs", type="string", minLength=1, title="Connection", description="The cluster's connection"
        ),
        "registry": Param(
            "registry.example.org",
            type="string",
            pattern="^[A-Za-z0-9.-]+(:[0-9]+)?$",
            title="Registry",
            description="Host, and port where it has one",
        ),
        "repo_name": Param("jobs", type="string", pattern=NAME, title="Repository", description="Folder of the image"),
        "image_name": Param(
            "template-run-one-job", type="string", pattern=NAME, title="Image", description="Name of the image"
        ),
        "image_tag": Param("latest", type="string", pattern=NAME, title="Tag", description="Version of the image"),
        "pull_secret": Param(
            "registry-login",
            type="string",
            minLength=1,
            title="Pull secret",
            description="The namespace's secret with the login of the registry",
        ),
    },
):
    KubernetesPodOperator(
        task_id="run_job",
        kubernetes_conn_id="{{ params.connection }}",
        name="kubernetes-run-one-job",
        image="{{ params.registry }}/{{ params.repo_name }}/{{ params.image_name }}:{{ params.image_tag }}",
        image_pull_policy="Always",
        pod_template_dict=POD,
        startup_timeout_seconds=600,
        get_logs=True,
        on_finish_action="delete_pod",
    )
