"""A small server that answers as Airflow's REST API does (the client, the wire and the pages are real), and a login."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from scripts.airflow_api import airflow_get_runs, airflow_setup_configuration
from tests.engine_support import ENDED, Stack, eventually

Json = dict[str, Any]
Query = dict[str, list[str]]
MOST = 100  # [api] maximum_page_limit
LOGIN = ("admin", "right-password")


def dag_json(dag_id: str, **changes: Any) -> Json:
    """A DAG as the API shows it."""
    return {
        "dag_id": dag_id,
        "dag_display_name": dag_id,
        "file_token": "token",
        "fileloc": f"/opt/airflow/dags/{dag_id}.py",
        "has_import_errors": False,
        "has_task_concurrency_limits": False,
        "is_backfillable": False,
        "is_paused": False,
        "is_stale": False,
        "max_active_tasks": 16,
        "max_consecutive_failed_dag_runs": 0,
        "owners": ["airflow"],
        "tags": [],
        "timetable_partitioned": False,
        "timetable_periodic": False,
        **changes,
    }


def details_json(dag: Json) -> Json:
    """The same DAG with all that the API knows of it."""
    return {
        "catchup": False,
        "concurrency": 16,
        "render_template_as_native_obj": False,
        "rerun_with_latest_version": None,
        **dag,
    }


def run_json(dag_id: str, run_id: str, **changes: Any) -> Json:
    """A run that went well."""
    return {
        "dag_id": dag_id,
        "dag_display_name": dag_id,
        "dag_run_id": run_id,
        "dag_versions": [],
        "conf": {},
        "run_after": "2025-09-24T12:04:36.778213Z",
        "queued_at": "2025-09-24T12:04:36.800000Z",
        "start_date": "2025-09-24T12:04:37.027288Z",
        "end_date": "2025-09-24T12:04:41.853600Z",
        "run_type": "manual",
        "state": "success",
        "triggered_by": "rest_api",
        "triggering_user_name": "admin",
        **changes,
    }


def instance_json(run: Json, task_id: str, **changes: Any) -> Json:
    """A task of a run that went well."""
    return {
        "id": "0199f2a0-0000-7000-8000-000000000000",
        "dag_id": run["dag_id"],
        "dag_display_name": run["dag_id"],
        "dag_run_id": run["dag_run_id"],
        "task_id": task_id,
        "task_display_name": task_id,
        "map_index": -1,
        "state": "success",
        "try_number": 1,
        "max_tries": 0,
        "duration": 1.25,
        "start_date": "2025-09-24T12:04:38Z",
        "end_date": "2025-09-24T12:04:39.25Z",
        "executor_config": "{}",
        "pool": "default_pool",
        "pool_slots": 1,
        "run_after": run["run_after"],
        **changes,
    }


@dataclass
class SmallAirflow:
    """What the server knows, and what it was asked."""

    dags: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, list[Json]] = field(default_factory=dict)
    instances: dict[str, list[Json]] = field(default_factory=dict)  # by run
    tasks: dict[str, list[Json]] = field(default_factory=dict)  # by DAG
    logs: dict[str, list[Json]] = field(default_factory=dict)  # by task
    broken_files: int = 0
    refusals: list[tuple[int, Json]] = field(default_factory=list)  # what the next requests are answered with
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    is_up: bool = True  # else it answers as a proxy does whose server is away
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Json] = field(default_factory=list)
    on_look: Callable[[], None] = lambda: None  # runs before each look at a run
    address: str = ""

    def add_dag(self, dag_id: str, **changes: Any) -> Json:
        """Add a DAG without runs."""
        self.runs.setdefault(dag_id, [])
        return self.dags.setdefault(dag_id, dag_json(dag_id, **changes))

    def add_run(self, dag_id: str, run_id: str, *tasks: str, **changes: Any) -> Json:
        """Add a run and its tasks."""
        run = run_json(dag_id, run_id, **changes)
        self.runs.setdefault(dag_id, []).append(run)
        self.instances[run_id] = [instance_json(run, task) for task in tasks]
        return run

    def forget_tokens(self) -> None:
        """Let every token expire."""
        self.tokens.clear()

    def answer(self, method: str, path: str, query: Query, body: Json) -> tuple[int, Any]:
        """Answer one request."""
        pieces = [unquote(piece) for piece in path.removeprefix("/api/v2/").split("/")]
        if self.refusals:
            return self.refusals.pop(0)
        if pieces == ["importErrors"]:
            return 200, {"import_errors": [], "total_entries": self.broken_files}
        if pieces == ["dags"]:
            return 200, self.page("dags", self.matching_dags(query), query)
        return self.answer_dag(method, pieces, query, body)

    def answer_dag(self, method: str, pieces: list[str], query: Query, body: Json) -> tuple[int, Any]:
        """Answer a question about one DAG."""
        match pieces:
            case ["dags", dag_id, "dagRuns"] if method == "POST":
                run = self.add_run(dag_id, "manual__new", state="queued", conf=body["conf"], start_date=None)
                return 200, {**run, "end_date": None}
            case ["dags", dag_id, *_] if dag_id != "~" and dag_id not in self.dags:
                return 404, {"detail": f"The Dag with ID: `{dag_id}` was not found"}
            case ["dags", dag_id] if method == "PATCH":
                self.dags[dag_id] |= body
                return 200, self.dags[dag_id]
            case ["dags", dag_id, "details"]:
                return 200, details_json(self.dags[dag_id])
            case ["dags", dag_id, "tasks"]:
                return 200, {"tasks": self.tasks[dag_id], "total_entries": len(self.tasks[dag_id])}
            case ["dags", dag_id, "dagRuns", *rest]:
                return self.answer_runs(dag_id, rest, query)
        return 404, {"detail": "Not Found"}

    def answer_runs(self, dag_id: str, rest: list[str], query: Query) -> tuple[int, Any]:
        """Answer a question about runs."""
        runs = [run for name, found in self.runs.items() if dag_id in ("~", name) for run in found]
        match rest:
            case []:
                newest_first = query.get("order_by") == ["-id"]
                return 200, self.page("dag_runs", runs[::-1] if newest_first else runs, query)
            case [run_id, *_] if run_id not in self.instances:
                return 404, {"detail": f"The DagRun with run_id: `{run_id}` was not found"}
            case [run_id]:
                self.on_look()
                return 200, next(run for run in runs if run["dag_run_id"] == run_id)
            case [run_id, "taskInstances"]:
                return 200, self.page("task_instances", self.instances[run_id], query)
            case [_, "taskInstances", task_id, "logs", _]:
                return 200, "".join(json.dumps(event) + "\n" for event in self.logs.get(task_id, []))
        return 404, {"detail": "Not Found"}

    def matching_dags(self, query: Query) -> list[Json]:
        """Return the DAGs that the filters leave over."""
        tags, state = set(query.get("tags", [])), query.get("last_dag_run_state", [""])[0]
        dags = [dag for dag in self.dags.values() if not tags or tags & {tag["name"] for tag in dag["tags"]}]
        if state:
            dags = [dag for dag in dags if self.runs[dag["dag_id"]][-1:] and self.last_state(dag) == state]
        return sorted(dags, key=lambda dag: dag["dag_id"])

    def last_state(self, dag: Json) -> str:
        """Return the state of a DAG's last run."""
        return str(self.runs[dag["dag_id"]][-1]["state"])

    def page(self, name: str, items: list[Json], query: Query) -> Json:
        """Return a part of the items, never more than the server's own limit."""
        size, offset = min(MOST, int(query.get("limit", ["50"])[0])), int(query.get("offset", ["0"])[0])
        return {name: items[offset : offset + size], "total_entries": len(items)}


@contextmanager
def small_airflow() -> Iterator[SmallAirflow]:
    """Run the server for as long as it is needed."""
    airflow = SmallAirflow()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            status, answer = reply(airflow, self.command, parts.path, parse_qs(parts.query), body, self.headers)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-ndjson" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = handle_any

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    airflow.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield airflow
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(airflow: SmallAirflow, method: str, path: str, query: Query, body: Json, headers: Any) -> tuple[int, Any]:
    """Answer a login or, to who has logged in, a question."""
    if not airflow.is_up:
        return 503, {}
    if path == "/auth/token":
        if (body.get("username"), body.get("password")) != LOGIN:
            return 401, {"detail": "Invalid credentials"}
        airflow.logins += 1
        airflow.tokens.add(f"token-{airflow.logins}")
        return 201, {"access_token": f"token-{airflow.logins}"}
    airflow.asked.append((method, path))
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    if token not in airflow.tokens:
        return (
            (401, {"detail": "Token Expired"}) if token in ("", "token-1") else (403, {"detail": "Invalid JWT token"})
        )
    airflow.bodies += [body] if body else []
    return airflow.answer(method, path, query, body)


def fail(airflow: SmallAirflow, state: str = "failed") -> None:
    """Let the newest run of the DAG `one` end with failed tasks."""
    run = airflow.runs["one"][-1] | {"state": state, "end_date": "2025-09-24T12:00:09Z"}
    run |= {"start_date": "2025-09-24T12:00:00Z"}
    airflow.runs["one"][-1].update(run)
    failed = [
        instance_json(run, "sums", map_index=index, state="failed", try_number=2, max_tries=1) for index in (0, 1)
    ]
    after = instance_json(run, "after", state="upstream_failed", try_number=0, start_date=None, duration=None)
    airflow.instances[run["dag_run_id"]] = [after, instance_json(run, "good"), *failed]
    airflow.logs["good"] = [{"event": "all is well", "level": "info", "timestamp": "2025-09-24T12:00:01Z"}]
    airflow.logs["sums"] = [
        {"event": "::group::Log message source details"},
        {"event": "/opt/airflow/logs/somewhere.log"},
        {"event": "::endgroup::"},
        *({"event": f"line {number}", "level": "info", "timestamp": "2025-09-24T12:00:01Z"} for number in range(40)),
        {
            "event": "Task failed with exception",
            "level": "error",
            "timestamp": "2025-09-24T12:00:02.123456Z",
            "error_detail": [
                {
                    "exc_type": "ValueError",
                    "exc_value": "no such sum",
                    "frames": [
                        {"filename": "/usr/lib/python3/site-packages/airflow/x.py", "lineno": 1, "name": "run"},
                        {"filename": "/opt/airflow/dags/mine/one.py", "lineno": 7, "name": "sums"},
                    ],
                }
            ],
        },
    ]


def administrator(stack: Stack) -> Any:
    """Return the first administrator's login to a real stack."""
    return airflow_setup_configuration(
        f"http://127.0.0.1:{stack.port}", "admin", stack.secrets()["admin_password"], strict=True
    )


def ended(configuration: Any, dag_id: str, run_id: str) -> Json:
    """Wait for the end of a run and return its row."""
    rows: dict[str, Json] = {}

    def is_over() -> bool:
        rows.update({row["id"]: row for row in airflow_get_runs(configuration, dag_id, strict=True)})
        return rows[run_id]["state"] in ENDED

    eventually(is_over, within=90)
    return rows[run_id]
