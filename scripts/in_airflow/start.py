"""Put Airflow's configuration together in memory, then become the command: the entrypoint of every Airflow container.

Later wins: config/airflow.cfg, config/airflow.local.cfg, AIRFLOW__* of `.env`, then the secrets this container was
given as files. Nothing secret stands in the environment, so `docker inspect` shows none.
"""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from pathlib import Path

CONFIG = Path("/opt/airflow/config")
GENERATED = Path("/opt/windrose/generated")  # what `make up` computed from `.env`
SECRETS = Path("/run/windrose")
MEMORY = Path("/run/airflow")  # a tmpfs of this container

# Values that the world knows from published examples.
KNOWN_BAD = {"", "airflow", "airflow_jwt_secret", "changeme", "change-me", "password", "admin", "REPLACE-ME"}
# Which option each secret file fills, with {} for its content.
FILLS = {
    "database_password": [("database", "sql_alchemy_conn", "postgresql+psycopg2://airflow:{}@postgres:5432/airflow")],
    "fernet_key": [("core", "fernet_key", "{}")],
    "jwt_secret": [("api_auth", "jwt_secret", "{}")],
    "api_secret_key": [("api", "secret_key", "{}")],
    "broker_password": [
        ("celery", "broker_url", "redis://:{}@valkey:6379/0"),
        ("celery", "result_backend", "redis://:{}@valkey:6379/1"),
    ],
}


def read_config() -> configparser.RawConfigParser:
    """Merge the configuration files, in their order."""
    merged = configparser.RawConfigParser()
    for path in (CONFIG / "airflow.cfg", CONFIG / "airflow.local.cfg", GENERATED / "airflow.cfg"):
        try:
            merged.read(path, encoding="utf-8")
        except configparser.Error as error:
            stop(f"{path.name}: {error.message.splitlines()[0]}; mend the line, then run `make up`.")
    return merged


def add_secrets(config: configparser.RawConfigParser) -> None:
    """Fill in the secrets that this service was given; a missing or known-bad value stops the start."""
    for name, options in FILLS.items():
        path = SECRETS / name
        if not path.exists():
            continue
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            stop(f"secrets/{name}: cannot be read ({error.strerror}); run `make up` as the owner of secrets/.")
        if value in KNOWN_BAD or len(value) < 16:
            stop(f"secrets/{name}: the value is empty, short or publicly known; put back the one that was generated.")
        for section, option, template in options:
            if not config.has_section(section):
                config.add_section(section)
            config.set(section, option, template.format(value).replace("%", "%%"))


def write_config(config: configparser.RawConfigParser) -> None:
    """Write the result where only this user can read it, and only memory holds it (AIRFLOW_CONFIG of the image)."""
    descriptor = os.open(MEMORY / "airflow.cfg", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        config.write(file)


def trust_extra_certificates() -> dict[str, str]:
    """Return the environment that adds the site's own CA certificates to the usual ones."""
    extra = GENERATED / "extra-ca.pem"
    if not extra.exists() or not extra.stat().st_size:
        return {}
    bundle = MEMORY / "ca.pem"
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", bundle)
    with bundle.open("ab") as file:
        file.write(b"\n" + extra.read_bytes())
    return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), str(bundle))


def read_environment() -> dict[str, str]:
    """Return the proxies of `.env`: they may hold a password, so they come as a file."""
    path = GENERATED / "environment"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def stop(sentence: str) -> None:
    """Say what is wrong and end."""
    sys.exit(f"windrose: {sentence}")


def main(arguments: list[str]) -> None:
    """Prepare, then become the command."""
    if not arguments:
        arguments = ["airflow"]
    config = read_config()
    add_secrets(config)
    write_config(config)
    # The official image sets this one in its environment, where it would win over the configuration.
    os.environ.pop("AIRFLOW__CORE__LOAD_EXAMPLES", None)
    environment = {**os.environ, **read_environment(), **trust_extra_certificates()}
    try:
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - the container's own command
    except FileNotFoundError:
        stop(f"{arguments[0]}: there is no such program in the image; write `airflow ...`, `python ...` or `bash`.")


if __name__ == "__main__":
    main(sys.argv[1:])
