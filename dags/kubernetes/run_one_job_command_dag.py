"""Run a command in an image as a pod of a Kubernetes cluster, with shared data and on machines with GPUs.

## What it does
Starts a pod with a command of yours on a node of the right kind, with an NFS export mounted at `/nfsdata`, shows its
output as it comes, and deletes the pod when it has ended. `template-run-one-job-command` does the same on the machine
of this Airflow.

## Needs
- `LIBRARY=all,kubernetes` in `.env`, then `make up`: the folder of this DAG shows only when it is named.
- A platform of the type `kubernetes` in `secrets.yaml`, with a kubeconfig and the namespace of the pods, registered
  with `make connections`: `kubernetes` with `jobs` below it becomes the connection `kubernetes-jobs`.
- In that namespace, a secret of the type `kubernetes.io/dockerconfigjson` with the login of the image registry.
- An NFS server that the cluster's nodes may mount, and nodes with the label `node.kubernetes.io/instance-type`.

## Parameters
- `connection`: the connection of the cluster.
- `registry`, `repo_name`, `image_name`, `image_tag`: the image, `<registry>/<repo_name>/<image_name>:<image_tag>`.
- `command`: what `bash -cx` runs. Write no password into it: everybody who may see the run sees it.
- `pull_secret`: the secret with the login of the registry.
- `nfs_server`, `nfs_path`: the export that is mounted at `/nfsdata`.
- `instance_type`: the kind of node, as its label says.
- `gpus`: how many GPUs the pod gets.
- `data_folder`: the folder below `/nfsdata` that the command finds in `DATA_FOLDER`.

## Try it
    make trigger DAG=kubernetes-run-one-job-command CONF='{"command": "nvidia-smi && ls $DATA_FOLDER"}' WAIT=1

## Result
The log of `run_job` shows each command and what it wrote. A command that fails, or a pod that gets no node within ten
minutes, fails the task.
"""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP

NAME = "^[A-Za-z0-9][A-Za-z0-9._/-]*$"
MOUNT = "/nfsdata"
RIGHT_NODE = {
    "key": "node.kubernetes.io/instance-type",
    "operator": "In",
    "values": ["{{ params.instance_type }}"],
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "imagePullSecrets": [{"name": "{{ params.pull_secret }}"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [RIGHT_NODE]}]
                }
            }
        },
        "volumes": [
            {
                "name": "nfs-volume",
                "nfs": {"server": "{{ params.nfs_server }}", "path": "{{ params.nfs_path }}"},
            }
        ],
        "containers": [
            {
                "name": "base",
                "volumeMounts": [{"name": "nfs-volume", "mountPath": MOUNT}],
                "resources": {"limits": {"nvidia.com/gpu": "{{ params.gpus }}"}},
            }
        ],
    },
}

with DAG(
    dag_id="kubernetes-run-one-job-command",
    description=(
        "Run a command in an image as a pod of a Kubernetes cluster, with shared data and on machines with GPUs."
    ),
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=2)},
    tags=["kubernetes", "job", "gpu"],
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
        "command": Param(
            "nvidia-smi", type="string", minLength=1, title="Command", description="What bash runs in the container"
        ),
        "pull_secret": Param(
            "registry-login",
            type="string",
            minLength=1,
            title="Pull secret",
            description="The namespace's secret with the login of the registry",
        ),
        "nfs_server": Param(
            "nfs.example.org", type="string", minLength=1, title="NFS server", description="Host that exports the data"
        ),
        "nfs_path": Param("/nfsdata", type="string", pattern="^/", title="NFS path", description="What it exports"),
        "instance_type": Param(
            "t2-180",
            type="string",
            minLength=1,
            title="Instance type",
            description="The nodes' label node.kubernetes.io/instance-type",
        ),
        "gpus": Param(1, type="integer", minimum=0, maximum=16, title="GPUs", description="How many the pod gets"),
        "data_folder": Param(
            "", type="string", pattern="^(?!/)", title="Data folder", description=f"Below {MOUNT}; empty: all of it"
        ),
    },
):
    KubernetesPodOperator(
        task_id="run_job",
        kubernetes_conn_id="{{ params.connection }}",
        name="kubernetes-run-one-job-command",
        image="{{ params.registry }}/{{ params.repo_name }}/{{ params.image_name }}:{{ params.image_tag }}",
        image_pull_policy="Always",
        cmds=["bash", "-cx"],
        arguments=["{{ params.command }}"],
        env_vars={"DATA_FOLDER": f"{MOUNT}/{{{{ params.data_folder }}}}"},
        pod_template_dict=POD,
        startup_timeout_seconds=600,
        get_logs=True,
        on_finish_action="delete_pod",
    )
