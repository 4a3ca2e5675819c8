"""The demo cluster's container: beside the stack in containers, or alone where the stack runs without Docker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts import demo, images, preflight, process
from scripts.console import progress
from scripts.containers import Container, list_containers
from scripts.embedded_machine import free_port, is_free
from scripts.errors import KitError
from scripts.settings import ROOT, Settings, environment

FILE = Path("config") / "docker-compose.demo.yaml"
ALONE = demo.FOLDER / "docker-compose.alone.yaml"
PORT = 22
PARTS = ("demo-cluster", "demo-users", "demo-scratch")  # its volumes


def values(settings: Settings) -> dict[str, str]:
    """Return the values that its part of the stack's description asks for."""
    return {"WINDROSE_SLURM_IMAGE": images.ensure_slurm(settings)} if demo.is_wanted() else {}


def join(project: str, services: Iterable[str]) -> None:
    """Let services into its network, as they run: described with it, each would be made anew when the demo comes."""
    wanted = set(services)
    for container in list_containers(project):
        if container.service in wanted and container.state == "running":
            connect(f"{project}_demo", container)


def connect(network: str, container: Container) -> None:
    """Let a container into a network, unless it is there already."""
    done = process.run(["docker", "network", "connect", network, container.id], check=False)
    if done.code != 0 and "already exists" not in done.stderr:
        raise KitError("make demo", f"{container.name} cannot reach the demo cluster", "run `make demo` again")


def leave(project: str) -> None:
    """Take every container out of its network, which then can be removed."""
    network = f"{project}_demo"
    template = "--format={{range $id, $each := .Containers}}{{$id}} {{end}}"
    for name in process.run(["docker", "network", "inspect", template, network], check=False).stdout.split():
        process.run(["docker", "network", "disconnect", "--force", network, name], check=False)


def remove(project: str) -> None:
    """Remove its container, its volumes and its network."""
    own = [container.id for container in list_containers(project) if container.service == demo.NAME]
    if own:
        process.run(["docker", "rm", "--force", *own])
    leave(project)
    process.run(["docker", "network", "rm", f"{project}_demo"], check=False)
    for part in PARTS:
        process.run(["docker", "volume", "rm", "--force", f"{project}_{part}"])


def host_key(project: str) -> str:
    """Return the key by which the cluster is known, asked through the engine: nobody stands between."""
    found = [container.id for container in list_containers(project) if container.service == demo.NAME]
    done = process.run(["docker", "exec", *found[:1], "cat", demo.HOST_KEY])
    return " ".join(done.stdout.split()[:2])


def start_alone(settings: Settings) -> tuple[str, int, str]:
    """Start it for a stack without Docker, on a port of this machine; return how it is reached."""
    preflight.check_docker()
    port = write_alone(settings)
    compose(settings, "up", "--detach", "--no-build", "--wait", demo.NAME, more=values(settings))
    return "127.0.0.1", port, host_key(project_alone(settings))


def halt_alone(settings: Settings) -> None:
    """Stop it with the stack; it begins again with the stack, too."""
    if ALONE.exists():
        compose(settings, "stop", check=False)


def wake_alone(settings: Settings) -> None:
    """Start it again with the stack, where an engine answers."""
    if ALONE.exists() and compose(settings, "start", check=False) != 0:
        progress("the demo cluster does not start; see what `make demo` says")


def remove_alone(settings: Settings) -> None:
    """Remove it with all it holds."""
    if ALONE.exists():
        preflight.check_docker()
        compose(settings, "down", "--volumes")


def compose(settings: Settings, *arguments: str, more: Mapping[str, str] | None = None, check: bool = True) -> int:
    """Run Compose for its container alone; return the exit code."""
    files = [f"--file={FILE}", f"--file={ALONE.relative_to(ROOT)}"]
    argv = ["docker", "compose", f"--project-directory={ROOT}", *files, f"--project-name={project_alone(settings)}"]
    return process.run([*argv, *arguments], environment=environment(more), folder=ROOT, check=check).code


def project_alone(settings: Settings) -> str:
    """Return its project: clones without Docker may all be called the same."""
    return f"{settings.project}-demo-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


def write_alone(settings: Settings) -> int:
    """Write that it is reached by a port of this machine; the port of last time, unless somebody else has it now."""
    port = int(json.loads(ALONE.read_text(encoding="utf-8"))["x-port"]) if ALONE.exists() else 0
    is_running = any(container.state == "running" for container in list_containers(project_alone(settings)))
    if not port or not (is_running or is_free(port)):
        port = free_port()
    service = {"ports": [f"127.0.0.1:{port}:{PORT}"]}
    # A network without a way out has none in.
    content = {"x-port": port, "services": {demo.NAME: service}, "networks": {"demo": {"internal": False}}}
    demo.write(ALONE, json.dumps(content, indent=2).encode() + b"\n", 0o600)
    return port
