"""Look at everything that could stop the embedded runtime before anything is touched."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from scripts import airflow_venv, embedded_machine
from scripts import embedded_places as places
from scripts.console import progress
from scripts.embedded_services import State, read_json, write_json
from scripts.errors import KitError, Problems
from scripts.preflight import listener
from scripts.settings import ROOT, STATE, Settings

LEAST_DISK_GB = 0.5
LEAST_DISK_TO_INSTALL_GB = 3
USUAL_PORT = 8080


def check(settings: Settings, running: State | None) -> None:
    """Stop with all that stands in the way; say what is merely unwise."""
    problems = [*machine_problems(), *disk_problems(), *port_problems(settings, running)]
    if problems:
        raise Problems(problems)
    warning = embedded_machine.login_node_warning()
    if warning:
        progress(warning)
    if settings.uses_celery:
        progress("EXECUTOR=celery is for Docker; without it, tasks run as processes of the scheduler")


def machine_problems() -> list[KitError]:
    """Say what the machine lacks."""
    problems = []
    if not Path("/proc/self/stat").exists():
        problems.append(KitError("this machine", "is no Linux, which the embedded runtime needs", "install Docker"))
    if importlib.util.find_spec("_sqlite3") is None:
        fix = "install one that has it (every distribution's own does) and delete .venv"
        problems.append(KitError("python3", "was built without SQLite, where Airflow keeps its runs", fix))
    for folder in (ROOT, STATE, places.HOME, *places.SHARED_FOLDERS):
        if folder.exists() and not os.access(folder, os.W_OK):
            fix = "make a clone of your own (`git clone`), or run make as its owner"
            problems.append(KitError(str(folder), "cannot be written by you", fix))
    kind = embedded_machine.file_system(ROOT)
    if embedded_machine.is_shared(kind):
        problem = f"lies on {kind}, where several machines share files and SQLite's locks do not hold"
        fix = "put the clone on a disk of this machine (often /tmp, /var/tmp or a local scratch)"
        problems.append(KitError(str(ROOT), problem, fix))
    return problems


def disk_problems() -> list[KitError]:
    """Say where there is too little room."""
    is_installed = airflow_venv.is_ready()
    least = LEAST_DISK_GB if is_installed else LEAST_DISK_TO_INSTALL_GB
    free = shutil.disk_usage(ROOT).free / 1000**3
    if free >= least:
        return []
    return [KitError(str(ROOT), f"{free:.1f} GB are free, needed are {least} GB", "free some space")]


def port_problems(settings: Settings, running: State | None) -> list[KitError]:
    """Say who has the port that was asked for, unless it is this stack."""
    port = settings.port
    if "AIRFLOW_PORT" not in settings.given or embedded_machine.is_free(port):
        return []
    if running and running.is_alive() and recorded_port() == port:
        return []
    if port < 1024 and os.geteuid() != 0:
        return [KitError(f"port {port}", "only root may use it", "set AIRFLOW_PORT=8080 in .env")]
    return [KitError(f"port {port}", f"is taken{listener(port)}", "stop that, or set AIRFLOW_PORT in .env")]


def choose_port(settings: Settings, running: State | None) -> int:
    """Return the port of the web page: the one asked for, else the last one, the usual one or any that is free."""
    if "AIRFLOW_PORT" in settings.given:
        port = settings.port
    elif running and running.is_alive() and recorded_port():
        port = recorded_port()
    else:
        tried = [number for number in (recorded_port(), USUAL_PORT) if number]
        port = next(filter(embedded_machine.is_free, tried), 0) or embedded_machine.free_port()
    if port != recorded_port():
        write_json(places.PORTS, {"web": port})
    return port


def recorded_port() -> int:
    """Return the port that was chosen last, 0 before the first start."""
    return int(read_json(places.PORTS).get("web", 0))
