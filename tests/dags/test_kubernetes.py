"""The Kubernetes twins: what pod would be made of a form, without a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from tests.dags.check_support import ROOT

CONNECTION = "kubernetes-jobs"
FORM = {"repo_name": "docker-snapshots", "image_name": "train", "image_tag": "0.0.9-dev"}


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """The DAGs of the folder by their ids."""
    return dict(DagBag(str(ROOT / "dags" / "kubernetes")).dags)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that `make connections` would make."""
    known = {"conn_type": "kubernetes", "extra": {"namespace": "research"}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(known))


def pod_of(dag: DAG, **form: Any) -> dict[str, Any]:
    """Return the pod that a run with this form would start."""
    task = dag.task_dict["run_job"].prepare_for_execution()
    task.render_template_fields({"params": {**dag.params.dump(), **form}})  # type: ignore[typeddict-item]
    pod = task.build_pod_request_obj(dry_run=True)
    return dict(without_nothing(pod.to_dict()))


def without_nothing(value: Any) -> Any:
    """Return it without what is not set."""
    if isinstance(value, dict):
        return {key: without_nothing(inner) for key, inner in value.items() if inner not in (None, {}, [])}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


def test_two_forms_run_two_images_of_the_registry(dags: dict[str, DAG], connected: None) -> None:
    dag = dags["kubernetes-run-one-job"]

    first = pod_of(dag, registry="images.example.org:5000", **FORM)
    second = pod_of(dag, registry="images.example.org:5000", **{**FORM, "image_tag": "2"})

    [container] = first["spec"]["containers"]
    assert container["image"] == "images.example.org:5000/docker-snapshots/train:0.0.9-dev"
    assert second["spec"]["containers"][0]["image"].endswith("/train:2")
    assert ("command" in container, "args" in container) == (False, False)
    assert first["spec"]["image_pull_secrets"] == [{"name": "registry-login"}]
    assert first["metadata"]["namespace"] == "research"
    assert first["metadata"]["name"].startswith("kubernetes-run-one-job-")


def test_command_runs_with_shared_data_on_a_node_with_gpus(dags: dict[str, DAG], connected: None) -> None:
    form = {"command": "train --workers 4", "nfs_server": "files.example.org", "nfs_path": "/export", "gpus": 2}

    pod = pod_of(dags["kubernetes-run-one-job-command"], **FORM, **form, instance_type="t2-180", data_folder="aerial")

    spec, [container] = pod["spec"], pod["spec"]["containers"]
    [term] = spec["affinity"]["node_affinity"]["required_during_scheduling_ignored_during_execution"][
        "node_selector_terms"
    ]
    assert (container["command"], container["args"]) == (["bash", "-cx"], ["train --workers 4"])
    assert container["env"] == [{"name": "DATA_FOLDER", "value": "/nfsdata/aerial"}]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "2"}}
    assert container["volume_mounts"] == [{"mount_path": "/nfsdata", "name": "nfs-volume"}]
    assert spec["volumes"] == [{"name": "nfs-volume", "nfs": {"path": "/export", "server": "files.example.org"}}]
    assert spec["image_pull_secrets"] == [{"name": "registry-login"}]
    assert term["match_expressions"] == [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["t2-180"]}
    ]


@pytest.mark.parametrize("dag_id", ["kubernetes-run-one-job", "kubernetes-run-one-job-command"])
def test_pod_goes_to_the_cluster_of_the_form_and_is_deleted(dags: dict[str, DAG], dag_id: str) -> None:
    task = dags[dag_id].task_dict["run_job"].prepare_for_execution()

    task.render_template_fields({"params": {**dags[dag_id].params.dump(), "connection": "kubernetes-other"}})

    assert (task.kubernetes_conn_id, task.on_finish_action, task.get_logs) == ("kubernetes-other", "delete_pod", True)
    assert CONNECTION in (dags[dag_id].doc_md or "")


def test_folder_does_not_hide_the_client_library() -> None:
    import kubernetes

    assert "site-packages" in str(kubernetes.__file__)
