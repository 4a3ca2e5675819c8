"""One cluster for the whole tier, and the connection that leads to it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm_support import Cluster, running_cluster

NAME = "windrose-test-slurm"
CONNECTION = "AIRFLOW_CONN_HPC-DEMO"  # an id with a dash, as registration gives it


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that takes jobs, known to Airflow as hpc-demo."""
    with running_cluster(NAME, tmp_path_factory.mktemp("slurm")) as cluster:
        os.environ[CONNECTION] = cluster.connection_json()
        yield cluster
        del os.environ[CONNECTION]
