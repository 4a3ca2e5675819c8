"""The entrypoint of every Airflow container, run as a program on folders of the test's own."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from scripts.in_airflow import start

KEY = "k" * 40


@pytest.fixture
def container(tmp_path: Path) -> Path:
    for name in ("config", "generated", "secrets", "memory"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "airflow.cfg").write_text("[core]\nparallelism = 8\nload_examples = False\n")
    return tmp_path


def places(container: Path) -> start.Places:
    return start.Places(*(container / name for name in ("config", "generated", "secrets", "memory")))


def assembled(container: Path) -> configparser.RawConfigParser:
    config = start.read_config(places(container))
    start.add_secrets(config, places(container))
    start.write_config(config, places(container))
    written = configparser.RawConfigParser()
    written.read(container / "memory" / "airflow.cfg")
    return written


def test_later_files_win_and_the_rest_stays(container: Path) -> None:
    (container / "config" / "airflow.local.cfg").write_text("[core]\nparallelism = 9\ndefault_timezone = utc\n")
    (container / "generated" / "airflow.cfg").write_text("[core]\nparallelism = 10\n")

    config = assembled(container)

    assert dict(config["core"]) == {"parallelism": "10", "load_examples": "False", "default_timezone": "utc"}


def test_only_the_secrets_a_service_was_given_are_filled_in(container: Path) -> None:
    (container / "secrets" / "broker_password").write_text(KEY)

    config = assembled(container)

    assert config.sections() == ["core", "celery"]
    assert config["celery"]["broker_url"] == f"redis://:{KEY}@valkey:6379/0"


def test_secret_with_a_percent_sign_survives_airflows_interpolation(container: Path) -> None:
    (container / "secrets" / "fernet_key").write_text(f"{KEY}%s")

    assembled(container)

    airflows = configparser.ConfigParser()
    airflows.read(container / "memory" / "airflow.cfg")
    assert airflows["core"]["fernet_key"] == f"{KEY}%s"


def test_assembled_file_is_for_its_owner_alone(container: Path) -> None:
    assembled(container)

    assert (container / "memory" / "airflow.cfg").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["", "airflow", "airflow_jwt_secret", "short", "\n"])
def test_empty_or_known_secret_stops_the_start(container: Path, value: str) -> None:
    (container / "secrets" / "jwt_secret").write_text(value)

    with pytest.raises(SystemExit, match="secrets/jwt_secret: the value is empty, short or publicly known"):
        assembled(container)


def test_broken_local_file_is_told_in_one_sentence(container: Path) -> None:
    (container / "config" / "airflow.local.cfg").write_text("parallelism = 9\n")

    with pytest.raises(SystemExit, match=r"^windrose: airflow.local.cfg: .*; mend the line, then run `make up`\.$"):
        assembled(container)


def test_extra_certificates_are_added_to_the_usual_ones(container: Path) -> None:
    (container / "generated" / "extra-ca.pem").write_text("-- site --\n")

    environment = start.trust_extra_certificates(places(container))

    bundle = Path(environment["SSL_CERT_FILE"]).read_text()
    assert bundle.endswith("-- site --\n") and "BEGIN CERTIFICATE" in bundle


def test_without_extra_certificates_nothing_changes(container: Path) -> None:
    (container / "generated" / "extra-ca.pem").write_text("")

    assert start.trust_extra_certificates(places(container)) == {}


def test_without_docker_the_clones_own_folders_are_used_and_no_secret_of_a_database_server(tmp_path: Path) -> None:
    home = tmp_path / ".windrose" / "embedded"

    found = start.places_of({"WINDROSE_EMBEDDED": str(home)})

    assert (found.config, found.secrets, found.memory) == (tmp_path / "config", tmp_path / "secrets", home)
    assert set(found.given) == {"fernet_key", "jwt_secret", "api_secret_key"}
    assert start.places_of({}) == start.Places()
