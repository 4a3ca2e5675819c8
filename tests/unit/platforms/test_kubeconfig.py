from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from scripts.platforms.plan import Endpoint
from tests.secrets_file_support import Load, Told, load_text, told_of

KUBECONFIG = {
    "apiVersion": "v1",
    "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example.org:6443"}}],
    "users": [{"name": "u", "user": {"token": "hunter2"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}
FLATTEN = "write it with `kubectl config view --raw --flatten`."


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


def test_kubeconfig_travels_in_the_connection(load: Load, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps(KUBECONFIG), encoding="utf-8")

    plan = load(
        "platforms: {x: {y: {type: kubernetes, key: k, namespace: n, context: x}}}\n"
        "connections: {kubernetes: {k: {file: config}}}"
    )

    assert plan.connections["x-y"] == {
        "conn_type": "kubernetes",
        "extra": {"kube_config": json.dumps(KUBECONFIG), "namespace": "n", "cluster_context": "x"},
        "description": "windrose: from secrets.yaml",
    }
    assert plan.endpoints == (Endpoint("x-y", "kubernetes", "k8s.example.org", 6443, 1),)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("hunter2: [", f"names a file that is not YAML as a kubeconfig is; {FLATTEN}"),
        ("hunter2", f"names a file without clusters, so it is no kubeconfig; {FLATTEN}"),
        (json.dumps({**KUBECONFIG, "users": [{"name": "u"}]}),
         f"names a kubeconfig whose users are incomplete; {FLATTEN}"),
        (json.dumps({**KUBECONFIG, "users": [{"name": "u", "user": {"client-key": "/k"}}]}),
         f"names a kubeconfig that points to other files; {FLATTEN}"),
        (json.dumps({**KUBECONFIG, "current-context": "y"}), "names a kubeconfig without a current context; "
         "take one that `kubectl config get-contexts` lists."),
        (json.dumps({**KUBECONFIG, "contexts": [{"name": "x", "context": {"cluster": "z"}}]}),
         f"names a kubeconfig whose context leads nowhere; {FLATTEN}"),
    ],
)  # fmt: skip
def test_kubeconfig_that_is_not_whole_is_told(told: Told, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "config").write_text(content, encoding="utf-8")

    message = told("platforms: {x: {y: {type: kubernetes, key: k}}}\nconnections: {kubernetes: {k: {file: config}}}\n")

    assert message == f"secrets.yaml line 2: connections.kubernetes.k.file {sentence}"
