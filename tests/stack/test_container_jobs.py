"""Tasks run containers through the proxy, and nothing else of what Docker's engine can do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_support import Stack, eventually, run
from tests.stack.test_hardening import UID

IMAGE = {"repo_name": "windrose-test", "image_name": "job", "image_tag": "1"}
DOCKERFILE = """
FROM windrose/debian:trixie-local
CMD ["sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo the last line"]
"""
COMMANDS = {
    "own command": None,
    "asked for": "echo $GREETING; cat /in/file; id -u > /out/user; touch /in/new; echo end",
    "memory": "tail /dev/zero; code=$?; echo tail ended with $code; exit $code",
    "much log": "yes 'a line of the log that nobody will ever read to its end' | head -c 100000000; echo; echo the end",
    "no image": "true",
    "other image": "true",
    "secret": "true",
    "killed": "trap '' TERM; echo waiting; sleep 600",
    "worker dies": "echo waiting; sleep 600",
}
SECRET = {"DB_PASSWORD": "hunter2-hunter2"}
# Asked by a task, in the container where tasks run: what the proxy says to each request.
ATTEMPTS = """
import json, sys
import docker
from docker.types import Mount
cli = docker.APIClient("unix:///run/docker-proxy/docker.sock")
folder, foreign, other = sys.argv[1:]
image = "windrose-test/job:1"

def create(image=image, **host):
    made = cli.create_container(image, host_config=cli.create_host_config(**host))
    cli.remove_container(made["Id"])

def raw(text):
    headers = {"Content-Type": "application/json"}
    cli._result(cli._post(cli._url("/containers/create"), data=text, headers=headers))

def bind(source):
    create(mounts=[Mount("/data", source, type="bind")])

bad = docker.types.DriverConfig("local", {"type": "none", "o": "bind", "device": "/"})
attempts = {
    "privileged": lambda: create(privileged=True),
    "odd case": lambda: raw('{"Image": "%s", "HostConfig": {"privileged": true}}' % image),
    "twice": lambda: raw('{"Image": "%s", "HostConfig": {"Privileged": false, "Privileged": true}}' % image),
    "bind outside": lambda: bind("/etc"),
    "bind by link": lambda: bind(folder + "/etc"),
    "bind by dots": lambda: bind(folder + "/../"),
    "bind of the socket": lambda: bind("/var/run/docker.sock"),
    "volume with options": lambda: create(mounts=[Mount("/data", "job-x", type="volume", driver_config=bad)]),
    "volumes from": lambda: create(volumes_from=[foreign]),
    "device": lambda: create(devices=["/dev/kmsg:/dev/kmsg:r"]),
    "capability": lambda: create(cap_add=["SYS_ADMIN"]),
    "security option": lambda: create(security_opt=["seccomp=unconfined"]),
    "host pid": lambda: create(pid_mode="host"),
    "host ipc": lambda: create(ipc_mode="host"),
    "host network": lambda: create(network_mode="host"),
    "network of a container": lambda: create(network_mode="container:" + foreign),
    "pid of a container": lambda: create(pid_mode="container:" + foreign),
    "other network": lambda: create(network_mode=other),
    "exec": lambda: cli.exec_create(foreign, "id"),
    "container of others": lambda: cli.inspect_container(foreign),
    "logs of others": lambda: cli.logs(foreign),
    "stop of others": lambda: cli.stop(foreign),
    "removal of others": lambda: cli.remove_container(foreign, force=True),
    "volume of others": lambda: create(mounts=[Mount("/data", "job-of-others", type="volume")]),
    "database": lambda: create(mounts=[Mount("/data", other.replace("front", "database"), type="volume")]),
    "large body": lambda: raw(b"{" + b" " * 50_000_000 + b"}"),
    "image outside": lambda: create(image="windrose/debian:trixie-local"),
    "pull outside": lambda: cli.pull("windrose/debian", tag="1"),
    "build": lambda: cli._result(cli._post(cli._url("/build"))),
    "swarm": lambda: cli.init_swarm(),
    "plugins": lambda: cli.plugins(),
    "list": lambda: cli.containers(),
    "volumes": lambda: cli.volumes(),
    "info": lambda: cli.info(),
    "allowed": lambda: create(mounts=[Mount("/data", folder, type="bind")]),
}
said = {}
for name, attempt in attempts.items():
    try:
        attempt()
        said[name] = "done"
    except docker.errors.APIError as error:
        said[name] = str(error.explanation)
print(json.dumps(said))
"""
REFUSED = {
    "privileged": "Privileged",
    "odd case": "privileged",
    "twice": "twice",
    "bind outside": "JOB_MOUNTS",
    "bind by link": "JOB_MOUNTS",
    "bind by dots": "JOB_MOUNTS",
    "bind of the socket": "JOB_MOUNTS",
    "volume with options": "VolumeOptions",
    "volumes from": "VolumesFrom",
    "device": "Devices",
    "capability": "CapAdd",
    "security option": "SecurityOpt",
    "host pid": "PidMode",
    "host ipc": "IpcMode",
    "host network": "NetworkMode",
    "network of a container": "NetworkMode",
    "pid of a container": "PidMode",
    "other network": "NetworkMode",
    "exec": "do not need this",
    "container of others": "not one that was made here",
    "logs of others": "not one that was made here",
    "stop of others": "not one that was made here",
    "removal of others": "not one that was made here",
    "volume of others": "not made here",
    "database": "JOB_MOUNTS",
    "large body": "larger than",
    "image outside": "JOB_IMAGES",
    "pull outside": "JOB_IMAGES",
    "build": "do not need this",
    "swarm": "do not need this",
    "plugins": "do not need this",
    "list": "do not need this",
    "volumes": "do not need this",
    "info": "do not need this",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that jobs may use, with a link that leads out of it."""
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("in", "out"):
        (folder / name).mkdir()
    (folder / "in" / "file").write_text("from the machine\n")
    (folder / "latest").symlink_to("in")
    (folder / "etc").symlink_to("/etc")
    for path in (folder, folder / "in", folder / "out"):
        shutil.chown(path, UID)
    return folder


@pytest.fixture(scope="module")
def jobs(stack: Stack, folder: Path) -> Iterator[Stack]:
    """The stack with container jobs switched on, and nothing of it left in the end."""
    run("docker", "buildx", "build", "--load", "--quiet", "--tag=windrose-test/job:1", "-", stdin=DOCKERFILE)
    stack.configure(JOB_IMAGES="windrose-test/*", JOB_MOUNTS=str(folder))
    stack.up()
    yield stack
    stack.configure(JOB_IMAGES="", JOB_MOUNTS="")
    stack.up()
    assert "docker-proxy" not in stack.services()
    assert containers(stack) == []
    run("docker", "volume", "rm", "--force", *volumes(stack), "job-of-others")
    run("docker", "image", "rm", "--force", "windrose-test/job:1")


@pytest.fixture(scope="module")
def runs(jobs: Stack, folder: Path) -> Iterator[dict[str, str]]:
    """A run of every kind, all at once; those that wait for a second try are ended."""
    more: dict[str, dict[str, Any]] = {
        "asked for": {
            "environment": {"GREETING": 'it\'s "me" <{{ 1 }}>'},
            "mounts": [f"{folder}/latest:/in:ro", f"{folder}/out:/out", "job-cache:/cache"],
            "cpus": 0.5,
        },
        "memory": {"memory": "64m"},
        "no image": {"image_name": "none"},
        "other image": {"repo_name": "windrose", "image_name": "debian", "image_tag": "trixie-local"},
        "secret": {"environment": SECRET},
        "killed": {"cpus": 0.5, "memory": "64m"},
    }
    started = {}
    for name, command in COMMANDS.items():
        if command is None:
            started[name] = jobs.trigger("template-run-one-job", **IMAGE)
        else:
            conf = {**IMAGE, "command": command, **more.get(name, {})}
            started[name] = jobs.trigger("template-run-one-job-command", **conf)
    yield started
    for path in started.values():
        if jobs.state(path) == "running":
            jobs.api("PATCH", path, {"state": "failed"})


def containers(stack: Stack, run_path: str = "") -> list[dict[str, Any]]:
    """Return the containers of jobs, or of one run."""
    words = ["docker", "ps", "--all", "--quiet", "--no-trunc", f"--filter=label=windrose.jobs={stack.project}"]
    words += [f"--filter=label=windrose.task.run={run_path.rpartition('/')[2]}"] if run_path else []
    ids = run(*words).stdout.split()
    # One that has gone since the list was made is left out, with a code of 1.
    found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *ids, check=False).stdout) if ids else []
    return found


def volumes(stack: Stack) -> list[str]:
    """Return the volumes of jobs."""
    return run("docker", "volume", "ls", "--quiet", f"--filter=label=windrose.jobs={stack.project}").stdout.split()


def ended(stack: Stack, run_path: str) -> str:
    """Wait for the end of the first try; return its state."""

    def state() -> str:
        return str(stack.tasks(run_path)["run-job"]["state"])

    eventually(lambda: state() in ("success", "failed", "up_for_retry"), within=90)
    return state()


def running(stack: Stack, run_path: str) -> dict[str, Any]:
    """Wait until a job runs; return what the engine knows of it."""
    eventually(lambda: any(c["State"]["Running"] for c in containers(stack, run_path)), within=60)
    return containers(stack, run_path)[0]


def test_own_command_of_an_image_runs_without_any_power(jobs: Stack, runs: dict[str, str]) -> None:
    assert ended(jobs, runs["own command"]) == "success", jobs.log(runs["own command"], "run-job")
    assert jobs.returned(runs["own command"], "run-job") == "the last line"
    log = jobs.log(runs["own command"], "run-job")
    assert ("0" * 16 in log, "NoNewPrivs:\\t1" in log) == (True, True)


def test_running_job_has_the_limits_and_labels_of_its_task(jobs: Stack, runs: dict[str, str]) -> None:
    found = running(jobs, runs["killed"])

    host, labels = found["HostConfig"], found["Config"]["Labels"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (5 * 10**8, 64 * 1024**2, 64 * 1024**2)
    assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges:true"], False)
    assert list(found["NetworkSettings"]["Networks"]) == [f"{jobs.project}_jobs"]
    assert (labels["windrose.task.dag"], labels["windrose.task.try"]) == ("template-run-one-job-command", "1")
    eventually(lambda: '"waiting"' in jobs.log(runs["killed"], "run-job"), within=30)


def test_killed_task_takes_its_job_along(jobs: Stack, runs: dict[str, str]) -> None:
    running(jobs, runs["killed"])

    jobs.api("PATCH", f"{runs['killed']}/taskInstances/run-job", {"new_state": "failed"})

    # The job ignores the polite signal; a heartbeat later, the task is told, and 5 s after that killed itself.
    eventually(lambda: containers(jobs, runs["killed"]) == [], within=45)


def test_job_of_a_dead_worker_is_removed_and_the_proxy_says_why(jobs: Stack, runs: dict[str, str]) -> None:
    job = running(jobs, runs["worker dies"])["Id"]
    instance = jobs.tasks(runs["worker dies"])["run-job"]["id"]

    # The supervisor and the task it has forked carry the id of the task instance as their name; this shell must not.
    pattern = f"[{instance[0]}]{instance[1:]}"
    script = f"for p in /proc/[0-9]*; do grep -qs {pattern} $p/cmdline && kill -9 ${{p#/proc/}}; done; true"
    jobs.exec("airflow-scheduler", "bash", "-c", script)

    eventually(lambda: containers(jobs, runs["worker dies"]) == [], within=40)
    assert f"removing {job[:12]}: its client is gone" in run("docker", "logs", jobs.id("docker-proxy")).stderr


def test_job_gets_what_the_form_asks_for(jobs: Stack, runs: dict[str, str], folder: Path) -> None:
    assert ended(jobs, runs["asked for"]) == "success", jobs.log(runs["asked for"], "run-job")
    log = jobs.log(runs["asked for"], "run-job")

    assert 'it\'s \\"me\\" <{{ 1 }}>' in log
    assert ("from the machine" in log, "Read-only file system" in log) == (True, True)
    assert ((folder / "out" / "user").read_text(), (folder / "out" / "user").stat().st_uid) == (f"{UID}\n", UID)
    assert "job-cache" in volumes(jobs)


def test_job_without_memory_is_told_so(jobs: Stack, runs: dict[str, str]) -> None:
    # Its second try may have come by now, and ends in the same way.
    assert ended(jobs, runs["memory"]) in ("up_for_retry", "failed")
    assert "the job ran out of memory (limit 64m); raise mem_limit" in jobs.log(runs["memory"], "run-job")


def test_hundred_megabytes_of_log_are_cut(jobs: Stack, runs: dict[str, str]) -> None:
    assert ended(jobs, runs["much log"]) == "success"
    assert jobs.returned(runs["much log"], "run-job") == "the end"
    [file] = (jobs.folder / "logs").glob(f"dag_id=*/run_id={runs['much log'].rpartition('/')[2]}/**/*.log")
    text = file.read_text(encoding="utf-8")
    assert "the job wrote 100 MB, and its log is full at 10 MB" in text
    assert 5_000_000 < file.stat().st_size < 15_000_000
    assert jobs.health("airflow-scheduler") == "healthy"


@pytest.mark.parametrize(
    ("name", "state", "sentence"),
    [
        ("no image", None, "image windrose-test/none:1 is not here and cannot be pulled"),
        ("other image", "failed", "JOB_IMAGES in .env does not allow it"),
        ("secret", "failed", "environment: DB_PASSWORD looks like a secret"),
    ],
)
def test_job_that_cannot_start_says_why(
    jobs: Stack, runs: dict[str, str], name: str, state: str | None, sentence: str
) -> None:
    found = ended(jobs, runs[name])

    assert found == state or (state is None and found in ("failed", "up_for_retry"))
    log = jobs.log(runs[name], "run-job")
    assert (sentence in log, containers(jobs, runs[name])) == (True, [])


@pytest.fixture(scope="module")
def said(jobs: Stack, folder: Path) -> dict[str, str]:
    """What the proxy says to a task that tries everything."""
    run("docker", "volume", "create", "job-of-others")
    foreign = jobs.id("postgres")
    front = f"{jobs.project}_front"
    done = jobs.exec("airflow-scheduler", "python", "-c", ATTEMPTS, str(folder), foreign, front)
    found: dict[str, str] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_task_is_refused(said: dict[str, str], name: str) -> None:
    assert said[name].startswith("docker-proxy: ") and REFUSED[name] in said[name], said[name]


def test_task_is_refused_nothing_that_is_allowed(said: dict[str, str], jobs: Stack) -> None:
    assert (said["allowed"], said.keys() - REFUSED.keys()) == ("done", {"allowed"})
    assert jobs.health("postgres") == "healthy"


def test_only_the_proxy_sees_the_engine_and_only_tasks_see_the_proxy(jobs: Stack) -> None:
    mounts = {c["Config"]["Labels"]["com.docker.compose.service"]: c["Mounts"] for c in jobs.inspect()}

    def having(place: str) -> list[str]:
        return sorted(name for name, found in mounts.items() if any(place in m["Destination"] for m in found))

    assert having("docker.sock") == ["docker-proxy"]
    assert having("/run/docker-proxy") == ["airflow-scheduler", "docker-proxy"]
    [proxy] = jobs.containers("docker-proxy")
    assert (proxy["Config"]["User"], proxy["HostConfig"]["CapDrop"]) == (f"{UID}:0", ["ALL"])
    assert (proxy["HostConfig"]["PortBindings"], proxy["HostConfig"]["ReadonlyRootfs"]) == ({}, True)


@pytest.fixture(scope="module")
def log_in(jobs: Stack) -> Iterator[Callable[[str], str]]:
    """Make a user of each role, and return their tokens."""
    tokens = {}
    password = "only-for-this-test-7"
    for role in ("Viewer", "User", "Op"):
        name = f"some-{role.lower()}"
        words = {"username": name, "password": password, "email": f"{name}@localhost"}
        names = {"first_name": "A", "last_name": role, "roles": [{"name": role}]}
        admin = jobs.log_in()[1]["access_token"]
        status, answer = jobs.call("POST", "/auth/fab/v1/users", {**words, **names}, token=admin)
        assert status < 300, answer
        tokens[role] = jobs.log_in(name, password)[1]["access_token"]
    yield tokens.__getitem__
    for role in tokens:
        jobs.call("DELETE", f"/auth/fab/v1/users/some-{role.lower()}", token=jobs.log_in()[1]["access_token"])


@pytest.mark.parametrize(
    ("role", "jobs_status", "own_status"), [("Viewer", 403, 403), ("User", 403, 200), ("Op", 200, 200)]
)
def test_dag_that_runs_what_its_form_says_is_for_admin_and_op(
    jobs: Stack, log_in: Callable[[str], str], role: str, jobs_status: int, own_status: int
) -> None:
    token = log_in(role)
    body = {"logical_date": None, "conf": {**IMAGE, "image_name": "never-there"}}

    found = jobs.call("POST", "/api/v2/dags/template-run-one-job/dagRuns", body, token=token)
    own = jobs.call("POST", "/api/v2/dags/own-looking/dagRuns", {"logical_date": None}, token=token)
    listed = jobs.call("GET", "/api/v2/dags?limit=100", token=token)[1]["dags"]
    looked = jobs.call("GET", "/api/v2/dags/template-run-one-job/dagRuns", token=token)

    assert (found[0], own[0], looked[0]) == (jobs_status, own_status, 200 if role == "Op" else 403)
    assert ("template-run-one-job" in [dag["dag_id"] for dag in listed]) is (role == "Op")
    if role == "Op":
        path = f"dags/template-run-one-job/dagRuns/{found[1]['dag_run_id']}"
        jobs.api("PATCH", path, {"state": "failed"})


def test_lost_proxy_leaves_no_job_behind(jobs: Stack) -> None:
    path = jobs.trigger("template-run-one-job-command", **IMAGE, command="sleep 600")
    running(jobs, path)

    run("docker", "kill", jobs.id("docker-proxy"))
    run("docker", "start", jobs.id("docker-proxy"))

    eventually(lambda: containers(jobs, path) == [], within=30)
    assert ended(jobs, path) == "up_for_retry"
    assert "the service docker-proxy went away, and the job with it" in jobs.log(path, "run-job")
    jobs.api("PATCH", path, {"state": "failed"})
