"""Put Airflow's configuration together, then become the command: the entrypoint of every process of Airflow.

Later wins: config/airflow.cfg, config/airflow.local.cfg, AIRFLOW__* of `.env`, then the secrets this container was
given as files. Nothing secret stands in the environment, so `docker inspect` shows none. Without Docker the same
happens in folders of the clone, which WINDROSE_EMBEDDED names.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


WITHOUT_DOCKER = ("fernet_key", "jwt_secret", "api_secret_key")  # no database server, no broker
USUAL_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Places:
    """Where the configuration comes from and where it goes; as it stands, in a container."""

    config: Path = Path("/opt/airflow/config")
    generated: Path = Path("/opt/windrose/generated")  # what `make up` computed from `.env`
    secrets: Path = Path("/run/windrose")
    memory: Path = Path("/run/airflow")  # a tmpfs of this container
    given: tuple[str, ...] = tuple(FILLS)  # which secrets are taken, where they are there
    certificates: Path = USUAL_CERTIFICATES


def places_of(environment: Mapping[str, str]) -> Places:
    """Return where everything lies: in the container, or in the clone whose folder the environment names."""
    if not environment.get("WINDROSE_EMBEDDED"):
        return Places()
    home = Path(environment["WINDROSE_EMBEDDED"])
    clone = home.parent.parent
    return Places(
        config=clone / "config",
        generated=home / "generated",
        secrets=clone / "secrets",
        memory=home,
        given=WITHOUT_DOCKER,
        certificates=Path(environment.get("WINDROSE_CERTIFICATES") or USUAL_CERTIFICATES),
    )


def read_config(places: Places) -> configparser.RawConfigParser:
    """Merge the configuration files, in their order."""
    merged = configparser.RawConfigParser()
    for path in (
        places.config / "airflow.cfg",
        places.config / "airflow.local.cfg",
        places.generated / "airflow.cfg",
    ):
        try:
            merged.read(path, encoding="utf-8")
        except configparser.Error as error:
            stop(f"{path.name}: {error.message.splitlines()[0]}; mend the line, then run `make up`.")
    return merged


def add_secrets(config: configparser.RawConfigParser, places: Places) -> None:
    """Fill in the secrets that this service was given; a missing or known-bad value stops the start."""
    for name in places.given:
        path = places.secrets / name
        if not path.exists():
            continue
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            stop(f"secrets/{name}: cannot be read ({error.strerror}); run `make up` as the owner of secrets/.")
        if value in KNOWN_BAD or len(value) < 16:
            stop(f"secrets/{name}: the value is empty, short or publicly known; put back the one that was generated.")
        for section, option, template in FILLS[name]:
            if not config.has_section(section):
                config.add_section(section)
            config.set(section, option, template.format(value).replace("%", "%%"))


def write_config(config: configparser.RawConfigParser, places: Places) -> None:
    """Write the result where only this user can read it (AIRFLOW_CONFIG), whole: others may be reading it."""
    fresh = places.memory / f".airflow.cfg.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        config.write(file)
    fresh.replace(places.memory / "airflow.cfg")


def trust_extra_certificates(places: Places) -> dict[str, str]:
    """Return the environment that adds the site's own CA certificates to the usual ones."""
    extra = places.generated / "extra-ca.pem"
    if not extra.exists() or not extra.stat().st_size:
        return {}
    bundle, fresh = places.memory / "ca.pem", places.memory / f".ca.pem.{os.getpid()}"
    fresh.write_bytes(places.certificates.read_bytes() + b"\n" + extra.read_bytes())
    fresh.replace(bundle)
    return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), str(bundle))


def read_environment(places: Places) -> dict[str, str]:
    """Return the proxies of `.env`: they may hold a password, so they come as a file."""
    path = places.generated / "environment"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def stop(sentence: str) -> None:
    """Say what is wrong and end."""
    sys.exit(f"windrose: {sentence}")


def main(arguments: list[str]) -> None:
    """Prepare, then become the command."""
    if not arguments:
        arguments = ["airflow"]
    places = places_of(os.environ)
    config = read_config(places)
    add_secrets(config, places)
    write_config(config, places)
    # The official image sets this one in its environment, where it would win over the configuration.
    os.environ.pop("AIRFLOW__CORE__LOAD_EXAMPLES", None)
    environment = {**os.environ, **read_environment(places), **trust_extra_certificates(places)}
    try:
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - the container's own command
    except FileNotFoundError:
        stop(f"{arguments[0]}: there is no such program in the image; write `airflow ...`, `python ...` or `bash`.")


if __name__ == "__main__":
    main(sys.argv[1:])
