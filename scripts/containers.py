"""What the engine says of itself and of a stack's containers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import process

PROJECT = "com.docker.compose.project"
FIELDS = (
    "{{.ID}}",
    '{{.Label "com.docker.compose.service"}}',
    "{{.State}}",
    "{{.Status}}",
    "{{.Image}}",
    '{{.Label "com.docker.compose.config-hash"}}',
    '{{.Label "com.docker.compose.project.working_dir"}}',
    '{{.Label "com.docker.compose.container-number"}}',
    '{{.Label "com.docker.compose.oneoff"}}',
)


@dataclass(frozen=True, slots=True)
class Engine:
    """The machine as the engine sees it."""

    version: str
    memory_mb: int
    cores: int
    folder: Path  # where it keeps images and volumes
    rootless: bool
    podman: bool


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a stack."""

    id: str
    service: str
    state: str  # created, running, restarting, exited, ...
    status: str  # "Up 2 minutes (healthy)"
    image: str
    config_hash: str
    clone: Path
    number: str

    @property
    def name(self) -> str:
        """Return the service's name, with a number from the second container of it on."""
        return self.service if self.number == "1" else f"{self.service}-{self.number}"

    @property
    def health(self) -> str:
        """Return healthy, unhealthy, starting, done, or what state it is in."""
        if self.state == "exited" and self.exit_code == 0:
            return "done"
        found = re.search(r"\((healthy|unhealthy|health: starting)\)", self.status)
        return found[1].removeprefix("health: ") if found else self.state

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of a container that has ended."""
        found = re.search(r"Exited \((\d+)\)", self.status)
        return int(found[1]) if found else None

    @property
    def since(self) -> str:
        """Return for how long it has been in its state, in the engine's words."""
        return re.sub(r"^(Up|Exited \(\d+\)|Restarting \(\d+\)) ?| ?\(.*\)$", "", self.status).strip()


def ask_engine() -> Engine:
    """Return what the engine says of itself."""
    info: dict[str, Any] = json.loads(process.run(["docker", "info", "--format={{json .}}"], timeout=30).stdout)
    options = " ".join(info.get("SecurityOptions") or [])
    parts = process.run(["docker", "version", "--format={{json .Server.Components}}"], timeout=30).stdout
    return Engine(
        version=info.get("ServerVersion", ""),
        memory_mb=int(info.get("MemTotal", 0)) // 1024**2,
        cores=int(info.get("NCPU", 1)),
        folder=Path(info.get("DockerRootDir") or "/var/lib/docker"),
        rootless="name=rootless" in options,
        podman="Podman Engine" in parts,
    )


def list_containers(project: str) -> list[Container]:
    """Return a stack's containers, one-off ones (`make shell`) aside."""
    listed = process.run(
        ["docker", "ps", "--all", f"--filter=label={PROJECT}={project}", "--format=" + "\t".join(FIELDS)]
    )
    found = []
    for line in listed.stdout.splitlines():
        identity, service, state, status, image, config_hash, clone, number, one_off = line.split("\t")
        if one_off != "True":
            found.append(Container(identity, service, state, status, image, config_hash, Path(clone), number))
    return sorted(found, key=lambda container: container.name)


def volume_exists(name: str) -> bool:
    """Say whether the engine has a volume."""
    return process.run(["docker", "volume", "inspect", name], check=False).code == 0


def volume_options(name: str) -> str:
    """Return how a volume was made to be mounted, '' where there is no such volume."""
    template = '--format={{index .Options "o"}}'
    return process.run(["docker", "volume", "inspect", template, name], check=False).stdout.strip()


def mounted_folders(container: Container, below: str) -> set[str]:
    """Return the places of this machine that a container has mounted below one of its folders."""
    done = process.run(["docker", "inspect", "--format={{json .Mounts}}", container.id], check=False)
    mounts = json.loads(done.stdout or "[]")
    return {mount["Source"] for mount in mounts if mount["Destination"].startswith(f"{below}/")}


def network_subnet(name: str) -> str:
    """Return the addresses of a network, '' where there is no such network."""
    template = "{{range .IPAM.Config}}{{.Subnet}}{{end}}"
    return process.run(["docker", "network", "inspect", f"--format={template}", name], check=False).stdout.strip()


def last_lines(container: Container, count: int) -> list[str]:
    """Return the end of a container's log."""
    done = process.run(["docker", "logs", f"--tail={count}", container.id], check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-count:]


def last_probe(container: Container) -> str:
    """Return what a container's health check said last, '' where it has none or said nothing."""
    template = "{{with .State.Health}}{{range .Log}}{{println .Output}}{{end}}{{end}}"
    done = process.run(["docker", "inspect", f"--format={template}", container.id], check=False)
    return next((line.strip() for line in reversed(done.stdout.splitlines()) if line.strip()), "")


def memory_in_use(containers: list[Container]) -> dict[str, str]:
    """Return container id -> memory in use and its limit, in the engine's words."""
    running = [container.id for container in containers if container.state == "running"]
    if not running:
        return {}
    done = process.run(["docker", "stats", "--no-stream", "--format={{.ID}}\t{{.MemUsage}}", *running], check=False)
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
