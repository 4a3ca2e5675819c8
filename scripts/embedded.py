"""The stack without Docker: processes of this user, from `.venv-airflow`, with a database in a file."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from typing import Any

from scripts import (
    airflow_venv,
    compose_demo,
    demo,
    embedded_files,
    embedded_keys,
    embedded_preflight,
    embedded_processes,
    embedded_start,
    generated_secrets,
    process,
)
from scripts import embedded_places as places
from scripts.console import progress
from scripts.embedded_component import last_line
from scripts.embedded_logs import follow, log_names, show
from scripts.embedded_services import State, Wanted, read_wanted, write_wanted
from scripts.errors import CommandFailed, KitError
from scripts.platforms import ssh_files
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import Key, Plan
from scripts.platforms.secrets_file import SECRETS_FILE
from scripts.process import Completed
from scripts.runtime_interface import Place, Service
from scripts.settings import ROOT, STATE, Settings

VERSION = "apache-airflow=="


class EmbeddedStack:
    """Windrose on this machine itself."""

    name = "embedded"
    lost = "the Airflow that was installed into .venv-airflow"
    ssh_home = str(places.SSH)

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; ask nothing yet."""
        self.settings = settings

    def address(self) -> str:
        """Return where the web page is."""
        return f"http://127.0.0.1:{embedded_preflight.recorded_port() or self.settings.port}"

    def start(self) -> None:
        """Check, make what is missing, start, and wait until everything is healthy."""
        wanted = self.prepare()
        if embedded_start.is_done(wanted):
            progress("everything is running and unchanged")
            compose_demo.wake_alone(self.settings)
            return
        if self.is_upgrade():
            progress("stopping once: the installed packages, or Windrose itself, have changed")
            embedded_start.stop()
        airflow_venv.ensure_airflow_venv()
        embedded_start.prepare_database(self.settings)
        self.run(wanted)
        compose_demo.wake_alone(self.settings)

    def is_upgrade(self) -> bool:
        """Say whether what runs cannot stay while packages, schema or the supervisor change."""
        return embedded_start.current() is not None and not (
            airflow_venv.is_ready() and embedded_start.is_of_this_program()
        )

    def prepare(self) -> list[Wanted]:
        """Check the machine, make secrets and files; return what is to run."""
        running = embedded_start.current()
        embedded_preflight.check(self.settings, running)
        generated_secrets.ensure(uid=places.owner(), database_exists=places.DATABASE.exists())
        places.make_folders()
        if not SECRETS_FILE.exists() and not demo.PLATFORMS.exists():
            embedded_keys.forget()
        embedded_keys.make_folders()
        port = embedded_preflight.choose_port(self.settings, running)
        embedded_files.write_configuration(self.settings, port)
        return embedded_files.wanted_services(self.settings, port)

    def run(self, wanted: list[Wanted]) -> None:
        """Write what is wanted, see that somebody looks after it, and wait until it is healthy."""
        state = embedded_start.current()
        given_up = [s.name for s in (state.services.values() if state else ()) if s.state == "gave up"]
        wanted = embedded_files.once_more(wanted, given_up)
        write_wanted(places.WANTED, wanted, embedded_files.program_stamp())
        if state is None:
            embedded_start.start_supervisor()
        embedded_start.wait(wanted)
        if not embedded_keys.are_wanted():
            embedded_keys.remove()

    def stop(self) -> None:
        """Stop the processes; database, logs and secrets stay, opened keys do not."""
        compose_demo.halt_alone(self.settings)
        embedded_start.stop()
        embedded_keys.remove()

    def restart(self, service: str) -> None:
        """Restart a service, or all, and wait until it is healthy again."""
        names = list(self.need_running().services)
        if service and service not in names:
            raise KitError("SERVICE", f"{service} is not running", f"take one of {', '.join(names)}")
        chosen = [service] if service else names
        progress(f"restarting {', '.join(chosen)}")
        self.run(embedded_files.once_more(read_wanted(places.WANTED), chosen))

    def build(self) -> None:
        """Install the packages where they have changed."""
        airflow_venv.ensure_airflow_venv()
        progress(f"airflow: {airflow_venv.FOLDER.name}")

    def clean(self) -> None:
        """Stop, and delete the database, the installed Airflow and what was downloaded for it."""
        if demo.FOLDER.exists():
            compose_demo.remove_alone(self.settings)
        embedded_start.stop()
        embedded_keys.remove()
        for folder in (places.HOME, airflow_venv.FOLDER, STATE / "uv-cache"):
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                shutil.rmtree(folder)

    def services(self) -> list[Service]:
        """Return each process as a row."""
        state = embedded_start.current()
        if state is None:
            return []
        memory = embedded_processes.memory_mb([service.pid for service in state.services.values() if service.pid])
        return [
            Service(
                s.name, s.state, age(time.time() - s.since), in_mib(*memory.get(s.pid, (0.0, True))), airflow_version()
            )
            for s in state.services.values()
        ]

    def has_database(self) -> bool:
        """Say whether the database can be asked now."""
        return embedded_start.found_in_database("") != []

    def why_unwell(self, name: str) -> str:
        """Return why the supervisor does not call a service healthy, else what it said last."""
        state = embedded_start.current()
        said = state.services[name].said if state and name in state.services else ""
        return said or last_line(places.LOGS / f"{name}.log")

    def follow_logs(self, service: str, *, lines: int, follow: bool) -> int:
        """Show what the services say."""
        known = log_names(places.LOGS)
        if service and service not in known:
            fix = f"take one of {', '.join(known)}" if known else "run `make up`"
            raise KitError("SERVICE", f"{service} is not running", fix)
        return show_logs([service] if service else known, lines=lines, is_followed=follow)

    def shell(self) -> int:
        """Open a shell that has the airflow command."""
        self.need_running()
        return process.interactive(places.in_airflow("bash"), environment=places.airflow_environment(), folder=ROOT)

    def airflow(self, arguments: list[str], *, stdin: str | None = None) -> Completed:
        """Run an Airflow command beside the stack."""
        self.need_running()
        return places.run("airflow", *arguments, stdin=stdin)

    def query(self, sql: str) -> list[list[str]]:
        """Ask the database in its file; nothing can be changed this way."""
        connection = sqlite3.connect(f"{places.DATABASE.as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            return [["" if cell is None else str(cell) for cell in row] for row in connection.execute(sql)]
        finally:
            connection.close()

    def run_script(self, name: str, request: object, *, place: Place) -> dict[str, Any]:
        """Run a program beside Airflow with a request on its stdin; nothing needs to run for it."""
        if embedded_start.current() is None:
            self.prepare()
            airflow_venv.ensure_airflow_venv()
            embedded_start.prepare_database(self.settings)
        done = places.run("python", str(places.IN_AIRFLOW / f"{name}.py"), stdin=json.dumps(request))
        answer = done.stdout.strip().rpartition("\n")[2]
        if done.code != 0 or not answer:
            # Its own words may hold a secret and stay out.
            raise CommandFailed([name], done.code, f"gave no answer (code {done.code})")
        return dict(json.loads(answer))

    def place_platforms(self, plan: Plan) -> None:
        """Write down which keys are kept and whom ssh knows."""
        ssh_files.write(plan, KnownHosts.read(), places.SSH, home=self.ssh_home)
        embedded_keys.write(plan)

    def refresh_keys(self) -> None:
        """Start what keeps the keys where the first key has come, stop it after the last."""
        if embedded_start.current() is None:
            return
        wanted = [service for service in read_wanted(places.WANTED) if service.name != "keys"]
        added = [embedded_keys.service(0)] if embedded_keys.are_wanted() else []
        if len(wanted) + len(added) != len(read_wanted(places.WANTED)):
            self.run([*wanted, *added])

    def unlock(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Hand over the passphrases; return the state of each key."""
        return embedded_keys.unlock(plan) if self.keeps_keys() else {}

    def key_states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each key, {} where nothing keeps them."""
        return embedded_keys.states() if self.keeps_keys() else {}

    def keeps_keys(self) -> bool:
        """Say whether the process that keeps keys runs."""
        state = embedded_start.current()
        return state is not None and "keys" in state.services and bool(state.services["keys"].pid)

    def key_path(self, key: Key) -> str:
        """Return where tasks find a key."""
        return embedded_keys.path_of(key)

    def start_demo(self) -> tuple[str, int, str]:
        """Start the demo cluster, which alone needs an engine."""
        return compose_demo.start_alone(self.settings)

    def stop_demo(self) -> None:
        """Remove the demo cluster with all it holds."""
        compose_demo.remove_alone(self.settings)

    def need_running(self) -> State:
        """Return what runs, or stop with a sentence."""
        state = embedded_start.current()
        if state is None:
            raise KitError("stack", "is not running", "run `make up`")
        return state


def show_logs(names: list[str], *, lines: int, is_followed: bool) -> int:
    """Print the ends of the logs; go on with what comes until somebody stops it."""
    paths = {name: places.LOGS / f"{name}.log" for name in names}
    marks = show(paths, lines)
    if is_followed:
        try:
            follow(paths, marks)
        except KeyboardInterrupt:
            return 130
    return 0


def airflow_version() -> str:
    """Return the version of Airflow that packages.txt names."""
    lines = (ROOT / "packages.txt").read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix(VERSION).split()[0] for line in lines if line.startswith(VERSION)), "")


def in_mib(memory: float, is_all: bool) -> str:
    """Return memory as the engine writes it; a plus says that some of it cannot be seen."""
    return f"{memory:.1f}MiB{'' if is_all else '+'}" if memory else ""


def age(seconds: float) -> str:
    """Return a time in the engine's words."""
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {word}"
    return f"{max(0, seconds):.0f} seconds"
