"""What `make up` computes from `.env` for the containers to read: .windrose/generated/."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from scripts.images import files_below
from scripts.limits import Limits
from scripts.settings import ROOT, STATE, Settings

FOLDER = STATE / "generated"
SHOWN_DAGS = FOLDER / "airflowignore"
KNOWN_HOSTS = ROOT / "secrets" / "known_hosts"  # no service reads it there
OWN_NAMES = ("localhost", "127.0.0.1", "postgres", "valkey", "airflow-apiserver")


def write(settings: Settings, limits: Limits, uid: int) -> str:
    """Write the files; return a fingerprint of everything whose change asks for a restart."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_read_by_start(FOLDER, settings, airflow_config(settings, limits))
    _write(SHOWN_DAGS, ignored_dags(settings))
    if os.geteuid() == 0:
        for path in (STATE, FOLDER, *FOLDER.iterdir()):
            os.chown(path, uid, 0)
    return restart_fingerprint()


def write_read_by_start(folder: Path, settings: Settings, config: str) -> None:
    """Write what in_airflow/start.py reads: configuration, proxies, certificates."""
    _write(folder / "airflow.cfg", config)
    _write(folder / "environment", proxy_environment(settings))
    bundle = settings["EXTRA_CA_BUNDLE"]
    _write(folder / "extra-ca.pem", Path(bundle).expanduser().read_text(encoding="utf-8") if bundle else "")


def airflow_config(settings: Settings, limits: Limits) -> str:
    """Return what the settings say to Airflow, as a configuration file over config/airflow.cfg."""
    sections = {
        "core": {
            "executor": "CeleryExecutor" if settings.uses_celery else "windrose.local_executor.LocalExecutor",
            "parallelism": str(limits.parallelism),
        },
        "celery": {"worker_concurrency": str(limits.tasks_per_worker)},
    }
    return config_text(settings, sections)


def config_text(settings: Settings, computed: Mapping[str, Mapping[str, str]]) -> str:
    """Return a configuration file: what was computed, and over it the options that `.env` sets itself."""
    sections = {name: dict(options) for name, options in computed.items()}
    for option, value in settings.airflow_options.items():
        section, name = option.split(".", 1)
        sections.setdefault(section, {})[name] = value.replace("%", "%%")
    lines = ["# Written by `make up` from .env; edit that."]
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


def proxy_environment(settings: Settings) -> str:
    """Return the proxies under both spellings; a task must reach the stack's own services without one."""
    if not (settings["HTTP_PROXY"] or settings["HTTPS_PROXY"]):
        return ""
    without = ",".join([*filter(None, [settings["NO_PROXY"]]), *OWN_NAMES])
    values = {"HTTP_PROXY": settings["HTTP_PROXY"], "HTTPS_PROXY": settings["HTTPS_PROXY"], "NO_PROXY": without}
    pairs = [(key, value) for key, value in values.items() if value]
    return "".join(f"{key}={value}\n{key.lower()}={value}\n" for key, value in pairs)


def ignored_dags(settings: Settings) -> str:
    """Return the .airflowignore that hides the shipped DAGs that LIBRARY does not name."""
    lines = (ROOT / "dags" / ".airflowignore").read_text(encoding="utf-8")
    return lines + "".join(f"/{folder}/\n" for folder in settings.hidden_folders)


def restart_fingerprint(generated: Path = FOLDER) -> str:
    """Return a short name of the configuration and the plugins: services read them only when they start."""
    digest = hashlib.sha256()
    # Secrets, too: a container keeps the file that it was started with, also when another one has taken its place.
    for path in [path for name in ("config", "plugins", "secrets", generated) for path in files_below(ROOT / name)]:
        if path not in (SHOWN_DAGS, KNOWN_HOSTS):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _write(path: Path, text: str) -> None:
    # In place: a file that a container has mounted must stay the same file to change there, too.
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
