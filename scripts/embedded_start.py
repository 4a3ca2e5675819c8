"""Bringing the embedded stack up: the database, the supervisor, and one line a process as it becomes healthy."""

from __future__ import annotations

import re
import signal
import sqlite3
import time

from scripts import airflow_venv, embedded_processes, generated_secrets, process
from scripts import embedded_places as places
from scripts.compose_start import MENDS
from scripts.console import progress
from scripts.embedded_component import last_line
from scripts.embedded_files import program_stamp
from scripts.embedded_services import GAVE_UP, WELL, Running, State, Wanted, read_json, read_state, write_json
from scripts.errors import KitError
from scripts.settings import ROOT, Settings, environment

PATIENCE = 180
LONGEST_STOP = 100  # seconds: the scheduler's grace, then the API server's
REVISIONS = (
    "SELECT version_num FROM alembic_version",
    "SELECT version_num FROM alembic_version_fab",
    "SELECT username FROM ab_user WHERE username = ?",
)


def current() -> State | None:
    """Return what runs now, None where no supervisor does."""
    state = read_state(places.STATE_FILE)
    return state if state and state.is_alive() else None


def is_done(wanted: list[Wanted]) -> bool:
    """Say whether every wanted process is healthy and was started from just this configuration."""
    state = current()
    if state is None or read_json(places.WANTED).get("program") != program_stamp():
        return False
    found = {name: (s.stamp, s.round, s.state) for name, s in state.services.items()}
    return found == {service.name: (service.stamp, service.round, WELL) for service in wanted}


def is_of_this_program() -> bool:
    """Say whether the supervisor that runs is the one of these files."""
    return current() is not None and read_json(places.WANTED).get("program") == program_stamp()


def prepare_database(settings: Settings) -> None:
    """Bring the database to the schema of this Airflow and make the administrator, unless that was done before."""
    done = {"packages": airflow_venv.fingerprint(), "user": settings["ADMIN_USER"]}
    known = read_json(places.PREPARED)
    if known and known == {**done, "found": found_in_database(settings["ADMIN_USER"])}:
        return
    own = {
        "WINDROSE_ADMIN_USER": settings["ADMIN_USER"],
        "WINDROSE_ADMIN_PASSWORD_FILE": str(generated_secrets.FOLDER / "admin_password"),
    }
    finished = places.run("python", str(places.IN_AIRFLOW / "prepare_database.py"), more=own)
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    if finished.code != 0:
        for line in lines[-15:]:
            progress(f"  airflow-init | {line}")
        raise explain("\n".join(lines[-15:]), "airflow-init")
    for line in finished.stdout.splitlines():
        progress(f"  {line}")
    places.DATABASE.chmod(0o600)
    write_json(places.PREPARED, {**done, "found": found_in_database(settings["ADMIN_USER"])})


def found_in_database(user: str) -> list[str]:
    """Return the schema's revisions and the administrator, [] where there is no such database."""
    if not places.DATABASE.exists():
        return []
    connection = sqlite3.connect(f"{places.DATABASE.as_uri()}?mode=ro", uri=True)
    try:
        return [str(row[0]) for sql in REVISIONS for row in connection.execute(sql, (user,) if "?" in sql else ())]
    except sqlite3.Error:
        return []
    finally:
        connection.close()


def start_supervisor() -> None:
    """Start it in a session of its own; it reads what is wanted."""
    kept = {name: value for name, value in environment().items() if name in ("PATH", "LANG", "TZ", "XDG_RUNTIME_DIR")}
    log = places.LOGS / "supervisor.log"
    process.start(
        places.supervisor_command(), log=log, environment={**kept, "PYTHONDONTWRITEBYTECODE": "1"}, folder=ROOT
    )


def wait(wanted: list[Wanted]) -> None:
    """Return when everything is healthy, one line each; stop at the first that was given up."""
    told: set[str] = set()
    stamps = {service.name: (service.stamp, service.round) for service in wanted}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        state = current()
        ours = [s for s in (state.services.values() if state else ()) if stamps.get(s.name) == (s.stamp, s.round)]
        for service in ours:
            if service.state == WELL and service.name not in told:
                progress(f"  {service.name}: healthy")
                told.add(service.name)
            if service.state == GAVE_UP or (service.deaths > 2 and service.state == "restarting"):
                raise failure(service)
        is_complete = state is not None and state.services.keys() == stamps.keys() == told
        if is_complete and all(service.state == WELL for service in ours):
            return
        time.sleep(0.2)
    late = next((name for name in stamps if name not in told), "stack")
    raise KitError(
        late, f"is not healthy after {PATIENCE} s", f"see `make logs SERVICE={late}`, then run `make up` again"
    )


def failure(service: Running) -> KitError:
    """Show a process's last words, and return what they mean."""
    log = places.LOGS / f"{service.name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:] if log.exists() else []
    for line in lines:
        progress(f"  {service.name} | {line}")
    return explain("\n".join(lines), service.name, service.said.split(";")[0] or "keeps ending")


def explain(text: str, where: str, problem: str = "failed") -> KitError:
    """Return the likely mend for what was said."""
    said = re.search(r"windrose: (.+?); (.+?)\.?$", text, flags=re.MULTILINE)
    if said:
        return KitError(where, said[1], said[2])
    for pattern, meaning, mend in MENDS:
        if re.search(pattern, text, flags=re.IGNORECASE):
            return KitError(where, meaning, f"{mend}, then run `make up` again")
    return KitError(where, problem, f"see `make logs SERVICE={where}`, then run `make up` again")


def stop() -> None:
    """Stop the supervisor with all it looks after; kill what a killed one has left, never a stranger."""
    state = read_state(places.STATE_FILE)
    if state is None:
        return
    if state.supervisor.send(signal.SIGTERM):
        process.wait_until(lambda: not state.supervisor.is_alive(), seconds=LONGEST_STOP, pause=0.1)
        left = read_state(places.STATE_FILE)
        if left is not None and left.supervisor.is_alive():
            words = last_line(places.LOGS / "supervisor.log")
            raise KitError("supervisor", f"does not end ({words})", "run `make down` again")
    for identity in (state.supervisor, *state.identities()):
        if identity.send(signal.SIGKILL):
            embedded_processes.kill_session(identity.pid)
    places.STATE_FILE.unlink(missing_ok=True)
