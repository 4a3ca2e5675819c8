"""The submitter: an HTTP service that starts runs of DAGs for other programs, and tells how they went (docs/api.md).

It asks for no login of its own: whoever reaches its port starts runs. Keep it on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fastapi import Body, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from scripts.airflow_api import (
    airflow_dag_logs,
    airflow_get_runs,
    airflow_get_tasks,
    airflow_setup_configuration,
    airflow_trigger_dag,
)

CONFIG = Path(os.environ.get("SUBMITTER_CONFIG", ".windrose/submitter.json"))
REMEMBERED = 1000  # tasks whose result can be asked for

app = FastAPI(title="Submitter")
workers = ThreadPoolExecutor(max_workers=4)
tasks: OrderedDict[str, Future[Any]] = OrderedDict()


class Config(BaseModel):
    """What the scheduled caller works with."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"), extra="forbid")

    bucket_prefix: str = "none"
    ice_id: str = "none"
    user: str = "none"
    used_client: str = "none"
    pre_auth_url: str = "none"
    pre_auth_token: str = "none"  # noqa: S105 - the default says that there is none
    user_domain_name: str = "none"
    project_domain_name: str = "none"
    project_name: str = "none"
    auth_version: str = "none"


@cache
def airflow() -> Any:  # noqa: ANN401
    """Return the login to this clone's Airflow; it renews itself, so one is enough."""
    return airflow_setup_configuration()


@app.post("/setup/config")
def save_config(config: Config) -> dict[str, Any]:
    """Save what the scheduled caller needs, in a file that only this user reads: it may hold a token."""
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    draft = CONFIG.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(config.model_dump(by_alias=True), file)
    draft.replace(CONFIG)
    return {"output": None}


@app.get("/interaction/task/{kind}/{identity}")
def use_task(kind: Literal["run", "get"], identity: str, body: dict[str, Any] | None = Body(None)) -> dict[str, Any]:  # noqa: B008
    """Begin a task and return its id (run), or return how the task of that id stands (get)."""
    if kind == "get":
        return {"output": standing(identity)}
    if identity not in TASKS:
        raise HTTPException(404, f"there is no task {identity}; take one of {', '.join(TASKS)}")
    task_id = str(uuid.uuid4())
    tasks[task_id] = workers.submit(TASKS[identity], (body or {}).get("payload", {}))
    while len(tasks) > REMEMBERED:
        tasks.popitem(last=False)
    return {"output": task_id}


@app.get("/interaction/orch/{kind}/{key}")
def use_orchestrator(kind: Literal["run", "get"], key: str, body: dict[str, Any] | None = Body(None)) -> dict[str, Any]:  # noqa: B008
    """Start a run of the DAG `key` (run), or return its runs, newest first (get)."""
    if kind == "run":
        # A page in somebody's browser can send this request, but never one with a body.
        if body is None or "payload" not in body:
            raise HTTPException(422, 'send {"payload": {...}} with the parameters of the run')
        return {"output": airflow_trigger_dag(airflow(), key, body["payload"])}
    return {"output": airflow_get_runs(airflow(), key, limit=100, order_by="-id")}


@app.get("/interaction/arti/{kind}/{target}")
def use_artifacts(kind: Literal["get"], target: str) -> dict[str, Any]:
    """Return what each task of the newest run of the DAG `target` has logged."""
    runs = airflow_get_runs(airflow(), target, limit=1, order_by="-id")
    found = airflow_get_tasks(airflow(), target) if runs else []
    logs = {task["id"]: airflow_dag_logs(airflow(), target, runs[0]["id"], task["id"], 1, ["::"]) for task in found}
    return {"output": logs}


def standing(task_id: str) -> dict[str, Any]:
    """Return status and result of a task; one that is not known is taken for one that has yet to begin."""
    task = tasks.get(task_id)
    if task is None or not task.done():
        return {"status": "PENDING" if task is None or not task.running() else "STARTED", "result": None}
    error = task.exception()
    return {"status": "FAILURE", "result": str(error)} if error else {"status": "SUCCESS", "result": task.result()}


def submit_request(payload: dict[str, Any]) -> dict[str, Any]:
    """Start the DAG that a request asks for."""
    if payload.get("mode") != "task":
        raise ValueError(f"mode is {payload.get('mode')!r}; write task")
    return airflow_trigger_dag(airflow(), "tutorial-dependency", payload.get("input"), strict=True)


TASKS: dict[str, Callable[[dict[str, Any]], Any]] = {"tasks.submitter-requests": submit_request}
