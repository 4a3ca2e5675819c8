"""Runs DAGs of files one after the other, deferrals included, and writes down what came of them: no test itself."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

AFTER = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = f"manual__{AFTER.isoformat()}"  # what Airflow makes of it, for each DAG


def main(asked: str, told: str) -> None:
    """Run what is asked for: file -> form."""
    Path(told).write_text(json.dumps({file: run(file, form) for file, form in json.loads(asked).items()}))


def run(file: str, form: dict[str, Any]) -> dict[str, Any]:
    """Run a DAG with a form; return the states of its tasks and what they returned."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag = next(iter(DagBag(file).dags.values()))
    print(f"run of {dag.dag_id}")
    run = dag.test(run_conf=form, run_after=AFTER)
    with create_session() as session:
        kept = session.scalars(
            select(XComModel).where(
                XComModel.dag_id == dag.dag_id, XComModel.run_id == run.run_id, XComModel.key == "return_value"
            )
        )
        results: dict[str, Any] = {}
        for each in kept:
            results.setdefault(each.task_id, []).append(each.value)
        states = [(ti.task_id, ti.state) for ti in run.get_task_instances(session=session)]
    return {"states": sorted(states), "results": results}


if __name__ == "__main__":
    main(*sys.argv[1:])
