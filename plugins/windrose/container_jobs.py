"""What DockerJobOperator makes of its arguments, and what it says when something goes wrong; it runs no job."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from docker.errors import APIError, DockerException, NotFound
from docker.types import DeviceRequest, Mount

if TYPE_CHECKING:
    from airflow.sdk.types import Logger, RuntimeTaskInstanceProtocol
    from docker import APIClient

TURNED_OFF = "container jobs are off: set JOB_IMAGES in .env and run `make up` (they need Docker)"
PATIENCE = 30  # seconds for a proxy that restarts
LABEL = "windrose.task."
FIELDS = ("host", "port", "login", "password", "schema")
SECRET_NAME = re.compile(r"PASSW(OR)?D|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
MOUNT = re.compile(r"(?P<source>.+?):(?P<target>/[^:]*)(?::(?P<mode>ro|rw))?")
GONE_FOR_GOOD = ("not found", "manifest unknown", "denied", "unauthorized", "does not exist", "no such image")


def need_proxy(place: str, patience: float = PATIENCE) -> None:
    """Wait for the proxy; say how to switch container jobs on where there is none."""
    end = time.monotonic() + patience
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(place)
                return
            except FileNotFoundError as error:
                raise AirflowFailException(TURNED_OFF) from error
            except OSError as error:
                if time.monotonic() > end:
                    text = f"the service docker-proxy does not answer ({error.strerror}); see `make status`"
                    raise RuntimeError(text) from error
        time.sleep(0.5)


def parsed(value: object, kind: type, name: str) -> Any:  # noqa: ANN401 - of that kind
    """Return an argument that may come from a form as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "null")
        except ValueError as error:
            raise AirflowFailException(f"{name} is not JSON: {error}") from error
    value = kind() if value is None else value
    if not isinstance(value, kind):
        raise AirflowFailException(f"{name} is a {type(value).__name__}; write a {kind.__name__}")
    return value


def check_environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment as texts; a secret does not belong there, because it would be kept with the run."""
    for name in environment:
        if SECRET_NAME.search(name):
            raise AirflowFailException(
                f"environment: {name} looks like a secret, and would be kept with the run; "
                "put it into a connection and name that in `secrets`"
            )
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in environment.items()}


def secret_environment(connections: Sequence[str], find: Callable[[str], Any]) -> dict[str, str]:
    """Return the fields of connections under names such as DATA_RESULTS_PASSWORD."""
    found: dict[str, str] = {}
    for name in connections:
        connection = find(name)
        prefix = re.sub(r"\W", "_", name).upper()
        found |= {f"{prefix}_{field.upper()}": str(getattr(connection, field) or "") for field in FIELDS}
    return found


def task_labels(ti: RuntimeTaskInstanceProtocol) -> dict[str, str]:
    """Return the labels that say which task a container belongs to."""
    values = {"dag": ti.dag_id, "run": ti.run_id, "task": ti.task_id, "map": ti.map_index, "try": ti.try_number}
    return {LABEL + name: str(value) for name, value in values.items()}


def container_name(ti: RuntimeTaskInstanceProtocol) -> str:
    """Return one name for all tries of a task, so that there is never more than one container of it."""
    identity = "\0".join(map(str, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)))
    words = "-".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:40] for word in (ti.dag_id, ti.task_id))
    number = "" if ti.map_index in (None, -1) else f"-{ti.map_index}"
    return f"job-{words}{number}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def nano_cpus(cpus: float | str) -> int:
    """Return a number of CPUs as the engine counts them."""
    try:
        found = int(float(cpus) * 1e9)
    except ValueError as error:
        raise AirflowFailException(f"cpus is {cpus!r}; write a number such as 0.5 or 4") from error
    if found < 1e7:
        raise AirflowFailException(f"cpus is {cpus}; the least is 0.01")
    return found


def mounts(wanted: Sequence[str]) -> list[Mount]:
    """Return mounts: a path is a folder of the machine, server:/path is NFS, anything else is a volume."""
    found = []
    for text in wanted:
        match = MOUNT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise AirflowFailException(f"mounts: {text!r} is not source:/target or source:/target:ro")
        kind = "bind" if match["source"].startswith("/") else "volume"
        found.append(Mount(match["target"], match["source"], type=kind, read_only=match["mode"] == "ro"))
    return found


def device_requests(gpus: int | str) -> list[DeviceRequest]:
    """Return the request for GPUs: a number of them, or all."""
    text = str(gpus or 0).strip()
    if text not in ("all", "-1") and not text.isdecimal():
        raise AirflowFailException(f"gpus is {gpus!r}; write a number, or all")
    count = -1 if text in ("all", "-1") else int(text)
    return [DeviceRequest(count=count, capabilities=[["gpu"]])] if count else []


def ensure_image(cli: APIClient, image: str, log: Logger, *, pull: bool) -> None:
    """Pull an image that is not there; say plainly why it cannot be had."""
    tagged = image if re.search(r"[:@][^/]*$", image) else f"{image}:latest"
    if not pull and cli.images(name=tagged):
        return
    log.info("pulling %s", tagged)
    problem = ""
    try:
        for line in cli.pull(image, stream=True, decode=True):
            problem = line.get("error", problem)
            if "id" not in line and "status" in line:
                log.info("%s", line["status"])
    except APIError as error:
        if error.status_code == 403:
            raise
        problem = str(error.explanation)
    if problem:
        kind = AirflowFailException if any(sign in problem.lower() for sign in GONE_FOR_GOOD) else RuntimeError
        raise kind(
            f"image {tagged} is not here and cannot be pulled ({problem}); "
            "check its name and tag, and docker_conn_id for a private registry"
        )


def explained(error: APIError, image: str) -> Exception:
    """Return what went wrong in words; what a retry cannot mend fails at once."""
    text = str(error.explanation)
    if "could not select device driver" in text:
        return AirflowFailException("this machine's engine has no GPU to give: install the NVIDIA Container Toolkit")
    if error.status_code == 403 or (error.status_code == 404 and "No such image" in text):
        return AirflowFailException(f"{text.removeprefix('docker-proxy: ')}; the job was not started")
    return RuntimeError(f"the engine did not start the job of image {image}: {text}")


def reason(code: int, state: Mapping[str, Any], memory: object) -> str:
    """Return why a job failed."""
    if state.get("OOMKilled"):
        return f"the job ran out of memory (limit {memory or '1g'}); raise mem_limit"
    if code in (125, 126, 127) or state.get("Error"):
        return f"the job ended with code {code}: {state.get('Error') or 'its command was not found or cannot run'}"
    if code > 128:
        return f"the job was ended by signal {code - 128} (code {code})"
    return f"the job ended with code {code}; its log says why"


def remove(cli: APIClient, container: str) -> None:
    """Remove a container that may be gone already."""
    with suppress(DockerException, OSError):
        cli.remove_container(container, force=True, v=True)


def remove_leftover(cli: APIClient, name: str, log: Logger) -> None:
    """Remove the container of an earlier try: two of one task would do the work twice."""
    try:
        found = cli.inspect_container(name)
    except NotFound:
        return
    log.info("removing the container of try %s", found["Config"]["Labels"].get(f"{LABEL}try", "?"))
    remove(cli, found["Id"])
