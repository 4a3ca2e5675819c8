"""A real stack for tests: a copy of the project that is started under a name and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts import tree
from scripts.settings import ARGUMENTS

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "tests" / "stack" / "example_dags"
OWN_DAGS = ["own-asking", "own-deferring", "own-eating", "own-looking", "own-platforms", "own-sleeping"]
OWN_PLUGINS = ("own_trigger.py", "own_ssh_trigger.py")
PROJECT = "com.docker.compose.project"
NOT_FOR_A_STACK = (*ARGUMENTS, "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
ENDED = ("success", "failed")
FIRST_STARTS = (0.7, 2.5, 6.0, 11.0)  # seconds after which a first `make up` is killed
JWT = r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"

Done = subprocess.CompletedProcess[str]
Json = dict[str, Any]


def run(*argv: str, check: bool = True, timeout: float = 120, stdin: str | None = None) -> Done:
    """Run a program and return what it printed."""
    return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=timeout, input=stdin)


def eventually(condition: Callable[[], object], *, within: float, pause: float = 0.5) -> None:
    """Wait until a condition holds; fail when it does not within so many seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not so within {within} s"
        time.sleep(pause)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def belongings(project: str) -> dict[str, list[str]]:
    """Return the containers, volumes and networks a project has on the engine."""
    own = f"--filter=label={PROJECT}={project}"
    return {
        "container": run("docker", "ps", "--all", "--quiet", own).stdout.split(),
        "volume": run("docker", "volume", "ls", "--quiet", own).stdout.split(),
        "network": run("docker", "network", "ls", "--quiet", own).stdout.split(),
    }


def remove_leftovers(project: str) -> None:
    """Remove what an earlier, killed run left."""
    for kind, ids in belongings(project).items():
        if ids:
            run("docker", kind, "rm", "--force", *(["--volumes"] if kind == "container" else []), *ids)


@dataclass
class Stack:
    """A copy of the project and the stack that runs from it."""

    folder: Path
    project: str
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)  # all that make and Airflow's API ever said
    killed: list[int] = field(default_factory=list)
    token: str = ""

    def configure(self, **settings: str) -> None:
        """Write `.env`, and remember the settings."""
        own = {"RUNTIME": "compose", "COMPOSE_PROJECT_NAME": self.project, "AIRFLOW_PORT": str(self.port)}
        self.settings |= settings
        lines = [f"{key}={value}\n" for key, value in {**own, **self.settings}.items() if value]
        (self.folder / ".env").write_text("".join(lines), encoding="utf-8")

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment a person would have."""
        kept = {key: value for key, value in os.environ.items() if key not in NOT_FOR_A_STACK}
        return {**kept, **(extra or {})}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start make in a process group of its own."""
        return subprocess.Popen(
            ["make", *words],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(self, *words: str, env: dict[str, str] | None = None, timeout: float = 900) -> Done:
        """Run make as a person would, without a terminal."""
        return self.keep(["make", *words], env=env, timeout=timeout, secret="credentials" in words)

    def command(self, name: str, timeout: float = 300, **arguments: str) -> Done:
        """Run what a target runs, with make's arguments: make itself says 2, whatever the command said."""
        return self.keep([".venv/bin/python", "-m", "scripts", name], env=arguments, timeout=timeout)

    def compose(self, *words: str, env: dict[str, str] | None = None) -> Done:
        """Run plain Compose in the copy, as a person would."""
        return self.keep(["docker", "compose", *words], env=env, timeout=120)

    def keep(self, argv: list[str], *, env: dict[str, str] | None, timeout: float, secret: bool = False) -> Done:
        """Run a program in the copy, and keep what it said for the search for secrets."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.said += [] if secret else [f"{' '.join(argv)}\n{done.stdout}{done.stderr}"]
        return done

    def up(self) -> None:
        """Run `make up`, which must succeed."""
        done = self.make("up")
        assert done.returncode == 0, done.stdout + done.stderr

    def up_and_kill(self, after: float) -> None:
        """Start `make up` and kill it with all it has started."""
        process = self.begin("up")
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        self.said.append("".join(process.communicate()))
        self.killed.append(process.returncode)

    def secrets(self) -> dict[str, str]:
        """Return the generated secrets by their names."""
        files = [path for path in (self.folder / "secrets").iterdir() if path.name != "known_hosts"]
        return {path.name: path.read_text(encoding="utf-8").strip() for path in files}

    def inspect(self) -> list[Json]:
        """Return what the engine knows of every container of the stack."""
        ids = belongings(self.project)["container"]
        found: list[Json] = json.loads(run("docker", "inspect", *ids).stdout) if ids else []
        return sorted(found, key=lambda container: str(container["Name"]))

    def containers(self, service: str) -> list[Json]:
        """Return the containers of one service."""
        return [c for c in self.inspect() if c["Config"]["Labels"]["com.docker.compose.service"] == service]

    def id(self, service: str) -> str:
        """Return the id of a service's first container."""
        return str(self.containers(service)[0]["Id"])

    def starts(self) -> dict[str, tuple[str, str]]:
        """Return container name -> id and time of its start."""
        return {c["Name"]: (c["Id"], c["State"]["StartedAt"]) for c in self.inspect()}

    def health(self, service: str) -> str:
        """Return the health of a service's first container."""
        return str(self.containers(service)[0]["State"]["Health"]["Status"])

    def services(self) -> list[str]:
        """Return the services that have a container."""
        return sorted({c["Config"]["Labels"]["com.docker.compose.service"] for c in self.inspect()})

    def exec(self, service: str, *argv: str, check: bool = True) -> Done:
        """Run a program in a service's first container."""
        return run("docker", "exec", self.id(service), *argv, check=check)

    def write_dag(self, name: str, text: str) -> Path:
        """Save a file in a folder of dags/ that is the user's own."""
        path = self.folder / "dags" / "own" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def call(self, method: str, path: str, body: Json | None = None, *, token: str | None = None) -> tuple[int, Any]:
        """Ask the web server; return the status and the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer) if answer.status != 204 else {}
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers)

    def log_in(self, user: str = "admin", password: str | None = None) -> tuple[int, Any]:
        """Ask for a token."""
        words = {"username": user, "password": password or self.secrets()["admin_password"]}
        return self.call("POST", "/auth/token", words)

    def api(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask the REST API as the administrator, who must be allowed to."""
        self.token = self.token or self.log_in()[1]["access_token"]
        status, answer = self.call(method, f"/api/v2/{path}", body, token=self.token)
        assert status < 400, f"{method} {path}: {status} {answer}"
        self.said.append(json.dumps(answer))
        return dict(answer)

    def dag_ids(self) -> list[str]:
        """Return the DAGs that Airflow shows."""
        return sorted(dag["dag_id"] for dag in self.api("GET", "dags?limit=100")["dags"])

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run and return its path in the API."""
        answer = self.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return f"dags/{dag_id}/dagRuns/{answer['dag_run_id']}"

    def state(self, run_path: str) -> str:
        """Return the state of a run."""
        return str(self.api("GET", run_path)["state"])

    def tasks(self, run_path: str) -> dict[str, Json]:
        """Return task id -> what Airflow knows of it."""
        return {task["task_id"]: task for task in self.api("GET", f"{run_path}/taskInstances")["task_instances"]}

    def result(self, run_path: str, within: float = 90) -> str:
        """Wait for the end of a run and return its state."""
        eventually(lambda: self.state(run_path) in ENDED, within=within)
        return self.state(run_path)

    def returned(self, run_path: str, task: str) -> Any:
        """Return what a task has returned."""
        value = self.api("GET", f"{run_path}/taskInstances/{task}/xcomEntries/return_value")["value"]
        return json.loads(value) if isinstance(value, str) and value.startswith(("[", "{", '"')) else value

    def log(self, run_path: str, task: str, try_number: int = 1) -> str:
        """Return the text of a task's log, as the web page shows it."""
        content = self.api("GET", f"{run_path}/taskInstances/{task}/logs/{try_number}?full_content=true")["content"]
        return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in content)


@contextmanager
def running_stack(folder: Path, project: str, **settings: str) -> Iterator[Stack]:
    """Start a stack, in spite of kills at several moments; remove it in the end, and see that nothing is left."""
    remove_leftovers(project)
    stack = Stack(tree.copy_to(folder), project, free_port())
    stack.configure(**settings)
    try:
        yield stack
    finally:
        done = stack.make("clean", "CONFIRM=yes")
        left = belongings(project)
        remove_leftovers(project)
    assert (done.returncode, left) == (0, {"container": [], "volume": [], "network": []}), done.stderr


def describe(stack: Stack) -> str:
    """Return the state and the last words of every service: what a person asks for first when a test has failed."""
    logs = stack.compose("--profile=*", "logs", "--tail=60", "--no-color")
    return "\n".join([stack.compose("--profile=*", "ps", "--all").stdout, logs.stdout, logs.stderr])
