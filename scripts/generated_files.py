"""What `make up` computes from `.env` for the containers to read: .windrose/generated/."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from scripts.images import files_below
from scripts.limits import Limits
from scripts.settings import ROOT, SHIPPED_FOLDERS, STATE, Settings

FOLDER = STATE / "generated"
SHOWN_DAGS = FOLDER / "airflowignore"
OWN_NAMES = ("localhost", "127.0.0.1", "postgres", "valkey", "airflow-apiserver")


def write(settings: Settings, limits: Limits, uid: int) -> str:
    """Write the files; return a fingerprint of everything whose change asks for a restart."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(FOLDER / "airflow.cfg", airflow_config(settings, limits))
    _write(FOLDER / "environment", proxy_environment(settings))
    bundle = settings["EXTRA_CA_BUNDLE"]
    _write(FOLDER / "extra-ca.pem", Path(bundle).expanduser().read_text(encoding="utf-8") if bundle else "")
    _write(SHOWN_DAGS, ignored_dags(settings))
    if os.geteuid() == 0:
        for path in (STATE, FOLDER, *FOLDER.iterdir()):
            os.chown(path, uid, 0)
    return restart_fingerprint()


def airflow_config(settings: Settings, limits: Limits) -> str:
    """Return what the settings say to Airflow, as a configuration file over config/airflow.cfg."""
    sections: dict[str, dict[str, str]] = {
        "core": {
            "executor": "CeleryExecutor" if settings.uses_celery else "LocalExecutor",
            "parallelism": str(limits.parallelism),
        },
        "celery": {"worker_concurrency": str(limits.tasks_per_worker)},
    }
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
    if settings["LIBRARY"] == "all":
        return lines
    chosen = set() if settings["LIBRARY"] == "none" else set(settings["LIBRARY"].split(","))
    return lines + "".join(f"/{folder}/\n" for folder in SHIPPED_FOLDERS if folder not in chosen)


def restart_fingerprint() -> str:
    """Return a short name of the configuration and the plugins: services read them only when they start."""
    digest = hashlib.sha256()
    # Secrets, too: a container keeps the file that it was started with, also when another one has taken its place.
    for path in [path for name in ("config", "plugins", "secrets", FOLDER) for path in files_below(ROOT / name)]:
        if path != SHOWN_DAGS:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _write(path: Path, text: str) -> None:
    # In place: a file that a container has mounted must stay the same file to change there, too.
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
