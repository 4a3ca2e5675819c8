"""Look at everything that could stop `make up` before anything is touched."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from scripts import images, process
from scripts.containers import Engine, ask_engine, list_containers
from scripts.engine_check import JOIN_GROUP, check_engine, parse_version
from scripts.errors import KitError, Problems
from scripts.settings import ROOT, Settings

OLDEST_ENGINE = (25, 0)  # health checks that are asked more often while a service starts
LEAST_DISK_GB = 2
LEAST_DISK_TO_BUILD_GB = 8
READ_BY_CONTAINERS = ("dags", "plugins", "config")
KERNEL_SOCKETS = Path("/proc/net/tcp")


def check(settings: Settings, uid: int) -> Engine:
    """Return the engine if nothing stands in the way; else say all that does."""
    engine = check_docker()
    problems = [*disk_problems(engine), *port_problems(settings), *clone_problems(settings), *file_problems(uid)]
    if problems:
        raise Problems(problems)
    return engine


def check_docker() -> Engine:
    """Return the engine, or say what about it will not do."""
    state = check_engine()
    if state.missing:
        fix = "start or update it; on Debian or Ubuntu `make engine CONFIRM=yes` does all of that"
        if state.refusal:
            fix = JOIN_GROUP
        raise KitError("Docker", ", ".join(state.missing), fix)
    engine = ask_engine()
    if engine.podman:
        raise KitError("Docker", "this is Podman, whose networks and health checks differ", "use Docker Engine")
    if engine.rootless:
        raise KitError("Docker", "the engine is rootless: containers cannot own files as you", "use one run by root")
    if parse_version(engine.version) < OLDEST_ENGINE:
        oldest = ".".join(map(str, OLDEST_ENGINE))
        raise KitError("Docker", f"the engine is {engine.version}, needed is {oldest} or newer", "update it")
    return engine


def disk_problems(engine: Engine) -> list[KitError]:
    """Say where there is too little room; a folder we cannot see (Docker Desktop) is passed over."""
    names = ("windrose/airflow", images.PACKAGES.repository)  # built here, or loaded from a bundle
    built = any(process.run(["docker", "image", "ls", "--quiet", name]).stdout.strip() for name in names)
    least = LEAST_DISK_GB if built else LEAST_DISK_TO_BUILD_GB
    places = [place for place in (engine.folder, ROOT) if place.exists()]
    free = {place: shutil.disk_usage(place).free / 1000**3 for place in places}
    fix = "free some space (`docker system df` shows what the engine holds)"
    return [
        KitError(str(place), f"{free[place]:.1f} GB are free, needed are {least} GB", fix)
        for place in places
        if free[place] < least
    ]


def port_problems(settings: Settings) -> list[KitError]:
    """Say who has the port of the web page, unless it is this stack."""
    ours = list_containers(settings.project)
    if any(container.service == "airflow-apiserver" and container.state == "running" for container in ours):
        published = process.run(["docker", "ps", f"--filter=publish={settings.port}", "--format={{.ID}}"], check=False)
        if set(published.stdout.split()) & {container.id for container in ours}:
            return []
    with socket.socket() as probe:
        # As a server would: a port whose last connection has just closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", settings.port))
        except PermissionError:
            return [KitError(f"port {settings.port}", "only root may use it", "set AIRFLOW_PORT=8080 in .env")]
        except OSError:
            holder = port_holder(settings.port)
            return [KitError(f"port {settings.port}", f"is taken{holder}", "stop that, or set AIRFLOW_PORT in .env")]
    return []


def port_holder(port: int) -> str:
    """Return ` by ...` where it can be found out, else ''."""
    names = process.run(["docker", "ps", f"--filter=publish={port}", "--format={{.Names}}"], check=False).stdout.split()
    if names:
        return f" by the container {names[0]}"
    return listener(port)


def listener(port: int) -> str:
    """Return ` by ...` where the process is one that we may look at, else ''."""
    for inode in _listening_sockets(port):
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(link) == f"socket:[{inode}]":
                    process_folder = link.parent.parent
                    return f" by {(process_folder / 'comm').read_text().strip()} (process {process_folder.name})"
            except OSError:
                continue
    return ""


def _listening_sockets(port: int) -> list[str]:
    if not KERNEL_SOCKETS.exists():
        return []
    rows = [line.split() for line in KERNEL_SOCKETS.read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def clone_problems(settings: Settings) -> list[KitError]:
    """Say when another clone runs a stack of the same name: ours would take it over."""
    others = {container.clone for container in list_containers(settings.project)} - {ROOT}
    return [
        KitError(
            f"project {settings.project}",
            f"{other} runs a stack of this name on this engine",
            "set COMPOSE_PROJECT_NAME (and AIRFLOW_PORT) in this clone's .env",
        )
        for other in others
        if (other / "docker-compose.yaml").exists()
    ]


def file_problems(uid: int) -> list[KitError]:
    """Say which files the containers could not read: they run as you, or as 50000 where root runs make."""
    problems = []
    for name in READ_BY_CONTAINERS:
        unreadable = [path for path in [ROOT / name, *(ROOT / name).rglob("*")] if not _can_read(path, uid)]
        if unreadable:
            first = unreadable[0].relative_to(ROOT)
            problems.append(
                KitError(str(first), f"the containers (uid {uid}) cannot read it", f"run `chmod -R a+rX {name}`")
            )
    return problems


def _can_read(path: Path, uid: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return True  # a broken link is the DAG processor's to report
    needed = 0o5 if path.is_dir() else 0o4
    shift = 6 if found.st_uid == uid else 3 if found.st_gid == 0 else 0
    return bool((found.st_mode >> shift) & needed == needed)
