"""Container jobs: what the proxy before Docker's engine needs of this machine, and what is left of jobs."""

from __future__ import annotations

import json
from pathlib import Path

from scripts import process
from scripts.containers import Engine
from scripts.engine_check import parse_version
from scripts.errors import KitError
from scripts.settings import STATE, Settings

PROFILE = "docker-jobs"
SERVICES = ("docker-proxy",)
OVERLAY = STATE / "docker-compose.jobs.yaml"
SOCKET = Path("/var/run/docker.sock")
LABEL = "windrose.jobs"  # of every container and volume that the proxy makes; its value is the project
FOLDERS_FROM = (26, 0)  # engines that go down to a folder of a volume without following links


def prepare(settings: Settings, engine: Engine) -> dict[str, str]:
    """Write which folders the proxy sees; return the values that docker-compose.yaml asks for."""
    shares = [key for key in ("JOB_MOUNTS", "JOB_NFS") if settings[key]]
    if settings.runs_containers and shares and parse_version(engine.version) < FOLDERS_FROM:
        text = f"needs Docker Engine 26 or newer, this one is {engine.version}"
        raise KitError(shares[0], text, "update the engine, or empty the setting in .env")
    write_overlay(settings)
    # On Docker Desktop the socket belongs to root, whose group every container of ours has.
    group = SOCKET.stat().st_gid if SOCKET.exists() else 0
    return {"WINDROSE_PROJECT": settings.project, "WINDROSE_DOCKER_GROUP": str(group)}


def write_overlay(settings: Settings) -> None:
    """Write what holds only where there is a proxy: tasks begin after it and end before it, and it sees the folders.

    It sees them where they are on this machine, so that links lead it where they lead the engine. A dependency that
    docker-compose.yaml called optional would give the scheduler another hash in `config` than in `up`.
    """
    if not settings.runs_containers:
        OVERLAY.unlink(missing_ok=True)
        return
    volumes = [
        {"type": "bind", "source": path, "target": path, "read_only": True, "bind": {"create_host_path": False}}
        for path in filter(None, settings["JOB_MOUNTS"].split(","))
    ]
    after_it = {"depends_on": {"docker-proxy": {"condition": "service_healthy"}}}
    services = {"docker-proxy": {"volumes": volumes}, "airflow-scheduler": after_it, "airflow-worker": after_it}
    text = json.dumps({"services": services}, indent=2) + "\n"
    if not OVERLAY.exists() or OVERLAY.read_text(encoding="utf-8") != text:
        OVERLAY.write_text(text, encoding="utf-8")


def containers(project: str) -> list[str]:
    """Return the containers of jobs; only a proxy that was killed leaves any."""
    return process.run(["docker", "ps", "--all", "--quiet", f"--filter=label={LABEL}={project}"]).stdout.split()


def remove_containers(project: str) -> None:
    """Remove the containers of jobs."""
    found = containers(project)
    if found:
        process.run(["docker", "rm", "--force", "--volumes", *found], check=False)


def remove_volumes(project: str) -> None:
    """Remove the volumes of jobs, with what is in those named job-...; folders and NFS shares stay as they are."""
    found = process.run(["docker", "volume", "ls", "--quiet", f"--filter=label={LABEL}={project}"]).stdout.split()
    if found:
        process.run(["docker", "volume", "rm", *found], check=False)
