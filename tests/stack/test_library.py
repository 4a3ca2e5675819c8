"""Every DAG that is shipped and shown has run green here: the modules before this one ran them."""

from __future__ import annotations

import pytest

from tests.engine_support import Stack
from tests.stack.test_dags import LIBRARY

RUN_BY = {
    *("test_dags", "test_tutorial", "test_templates", "test_platform_dags", "test_container_jobs", "test_janitor"),
    "test_hpc",
}


def test_every_shipped_dag_has_ended_well(stack: Stack, request: pytest.FixtureRequest) -> None:
    collected = {item.path.stem for item in request.session.items}
    if not collected >= RUN_BY:
        pytest.skip("the modules that run the DAGs were not chosen")

    query = "dagRuns?state=success&limit=1"
    never = [name for name in LIBRARY if not stack.api("GET", f"dags/{name}/{query}")["total_entries"]]

    assert never == []
