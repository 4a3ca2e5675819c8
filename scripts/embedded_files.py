"""What `make up` writes for the embedded stack: Airflow's configuration, and which processes are to run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from scripts import airflow_venv, embedded_keys, embedded_machine, generated_files
from scripts import embedded_places as places
from scripts.embedded_services import Wanted, read_json
from scripts.settings import ROOT, Settings

LOCK_SECONDS = 60  # how long a writer waits for another one; 5 s, SQLite's default, is short on a busy machine
HEARTBEAT = places.HEARTBEATS / "janitor"
SUPERVISOR = (
    "embedded_component.py",
    "embedded_health.py",
    "embedded_processes.py",
    "embedded_services.py",
    "embedded_supervisor.py",
    "process.py",
)
HIDDEN_DAGS = places.HOME / "hidden_dags"


def write_configuration(settings: Settings, port: int) -> None:
    """Write what start.py merges over config/airflow.cfg."""
    text = generated_files.config_text(settings, computed_options(settings, port))
    generated_files.write_read_by_start(places.GENERATED, settings, text)
    HIDDEN_DAGS.write_text("\n".join(sorted(settings.hidden_folders)), encoding="utf-8")
    HIDDEN_DAGS.chmod(0o600)


def computed_options(settings: Settings, port: int) -> dict[str, dict[str, str]]:
    """Return the options that follow from where this clone lies and what the machine gives."""
    return {
        "core": {
            "executor": "windrose.local_executor.LocalExecutor",
            "parallelism": str(embedded_machine.parallelism(settings)),
            "dags_folder": str(ROOT / "dags"),
            "plugins_folder": str(ROOT / "plugins"),
            "execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
            "might_contain_dag_callable": "windrose.shown_dags.might_contain_dag",
        },
        # Airflow itself turns on SQLite's write-ahead log: readers and the one writer do not wait for each other.
        "database": {"sql_alchemy_conn": f"sqlite:///{places.DATABASE}?timeout={LOCK_SECONDS}".replace("%", "%%")},
        "api": {"host": "127.0.0.1", "port": str(port)},
        "fab": {"config_file": str(ROOT / "config" / "webserver_config.py")},
        "dag_processor": {"dag_bundle_storage_path": str(places.HOME / "bundles")},
        "logging": {
            "base_log_folder": str(ROOT / "logs"),
            "dag_processor_child_process_log_directory": str(ROOT / "logs" / "dag_processor"),
            # A machine for many: what tasks write is for their owner.
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
    }


def wanted_services(settings: Settings, port: int) -> list[Wanted]:
    """Return the processes to run, the one the others need first."""
    stamp = configuration_stamp()
    rounds = {entry["name"]: int(entry["round"]) for entry in read_json(places.WANTED).get("services", [])}

    def airflow(name: str, command: str, job: str, *, grace: int) -> Wanted:
        argv = tuple(places.in_airflow("airflow", *command.split()))
        return Wanted(name, argv, places.airflow_environment(), stamp, rounds.get(name, 0), "job", job, grace)

    api = tuple(places.in_airflow("airflow", "api-server"))
    services = [
        Wanted(
            name="airflow-apiserver",
            argv=api,
            environment=places.airflow_environment(),
            stamp=stamp,
            round=rounds.get("airflow-apiserver", 0),
            probe="api",
            asked=str(port),
            grace=20,
            last=True,
        ),
        airflow("airflow-scheduler", "scheduler --skip-serve-logs", "SchedulerJob", grace=60),
        airflow("airflow-dag-processor", "dag-processor", "DagProcessorJob", grace=10),
        airflow("airflow-triggerer", "triggerer --skip-serve-logs", "TriggererJob", grace=10),
        janitor(settings, rounds.get("janitor", 0)),
    ]
    if embedded_keys.are_wanted():
        services.append(embedded_keys.service(rounds.get("keys", 0)))
    return services


def once_more(wanted: list[Wanted], names: list[str]) -> list[Wanted]:
    """Return the processes, some of them asked to be started anew."""
    return [replace(each, round=each.round + 1) if each.name in names else each for each in wanted]


def janitor(settings: Settings, number: int) -> Wanted:
    """Return the process that deletes old task logs, and old rows of the database."""
    program = places.IN_AIRFLOW / "janitor.py"
    own = {
        **{name: settings[name] for name in ("LOG_DAYS", "LOG_SIZE_MB", "HISTORY_DAYS")},
        "WINDROSE_LOGS": str(ROOT / "logs"),
        "WINDROSE_REPORT": str(ROOT / "logs" / "janitor" / "report.json"),
        "WINDROSE_HEARTBEAT": str(HEARTBEAT),
    }
    programs = (program, program.with_name("database_care.py"))
    stamp = short_hash(json.dumps(own).encode() + b"".join(path.read_bytes() for path in programs))
    argv = tuple(places.in_airflow("python", "-IS", str(program)))
    environment = {**places.airflow_environment(), **own}
    return Wanted("janitor", argv, environment, stamp, number, "file", str(HEARTBEAT), grace=5)


def configuration_stamp() -> str:
    """Return a short name of all that Airflow's processes read only when they start."""
    environment = {name: value for name, value in places.airflow_environment().items() if name not in ("PATH", "SHELL")}
    parts = [
        generated_files.restart_fingerprint(places.GENERATED),
        airflow_venv.fingerprint(),
        json.dumps(environment, sort_keys=True),
        places.START.read_text(encoding="utf-8"),
    ]
    return short_hash("\0".join(parts).encode())


def program_stamp() -> str:
    """Return a short name of the supervisor's own program."""
    return short_hash(b"\0".join((ROOT / "scripts" / name).read_bytes() for name in SUPERVISOR))


def short_hash(data: bytes) -> str:
    """Return a short name of some bytes."""
    return hashlib.sha256(data).hexdigest()[:12]
