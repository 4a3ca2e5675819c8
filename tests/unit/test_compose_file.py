"""The rules that docker-compose.yaml keeps, seen in what Compose makes of it, and the documents that describe it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.settings import SETTINGS, env_example

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- table: what each service reaches -->\n", "<!-- end of table -->"

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command to render the file with")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    argv = ["docker", "compose", "--file=docker-compose.yaml", "--env-file=/dev/null", "--profile=*", "config"]
    done = subprocess.run([*argv, "--format=json"], cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        pytest.skip("docker has no Compose here")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["services"]


def secrets_of(service: dict[str, Any]) -> list[str]:
    return [secret["source"] for secret in service.get("secrets", [])]


def mounts_of(service: dict[str, Any], *, writable: bool) -> list[str]:
    mounts = [mount for mount in service.get("volumes", []) if bool(mount.get("read_only")) is not writable]
    return [Path(mount["source"]).name if "source" in mount else mount["target"] for mount in mounts]


def render_table(services: dict[str, Any]) -> str:
    rows = ["| service | secrets it can read | networks | can write | runs code of `dags/` |", "|---|---|---|---|---|"]
    for name, service in services.items():
        networks = ", ".join(service.get("networks") or {}) or "none"
        reads_dags = "dags" in mounts_of(service, writable=False)
        cells = [
            ", ".join(secrets_of(service)) or "none",
            networks,
            ", ".join(mounts_of(service, writable=True)) or "nothing",
        ]
        rows.append(f"| `{name}` | {' | '.join(cells)} | {'yes' if reads_dags else 'no'} |")
    return "\n".join(rows) + "\n"


def test_security_page_shows_what_each_service_really_reaches(services: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")

    assert page.split(BEGIN)[1].split(END)[0] == render_table(services)


def test_worker_shares_no_network_and_no_secret_with_the_database(services: dict[str, Any]) -> None:
    worker, database = services["airflow-worker"], services["postgres"]

    assert not set(worker["networks"]) & set(database["networks"])
    assert secrets_of(worker) == ["broker_password"]


def test_every_service_is_hardened(services: dict[str, Any]) -> None:
    assert len(services) >= 10
    wanted = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "read_only": True, "user": "50000:0"}
    assert services["keys"]["network_mode"] == "none"
    for name, service in services.items():
        assert {key: service.get(key) for key in wanted} == wanted, name
        assert "cap_add" not in service and "privileged" not in service, name
        assert int(service["mem_limit"]) == int(service["memswap_limit"]) > 0, name
        assert service["logging"]["options"]["max-size"], name


def test_only_the_web_page_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}

    assert list(published) == ["airflow-apiserver"]
    assert [port["host_ip"] for port in published["airflow-apiserver"]] == ["127.0.0.1"]


def test_every_lasting_service_has_a_health_check_that_sees_a_frozen_process_within_a_minute(
    services: dict[str, Any],
) -> None:
    lasting = {name: service for name, service in services.items() if service.get("restart") == "unless-stopped"}
    oldest_heartbeat = 30

    for name, service in lasting.items():
        check = service["healthcheck"]
        worst = (float(check["interval"].rstrip("s")) + float(check["timeout"].rstrip("s"))) * check["retries"]
        if "heartbeat" in " ".join(check["test"]):
            worst = oldest_heartbeat + float(check["interval"].rstrip("s")) * check["retries"]
        assert worst < 60, name
        assert check["test"][0] in ("CMD", "CMD-SHELL") and "|| true" not in check["test"][-1], name


def test_nothing_in_the_file_or_an_environment_is_a_secret(services: dict[str, Any]) -> None:
    for name, service in services.items():
        secret_like = [
            key for key in service.get("environment", {}) if "PASSWORD" in key or "SECRET" in key or "KEY" in key
        ]
        assert [key for key in secret_like if not key.endswith("_FILE")] == [], name


def test_code_and_configuration_are_mounted_read_only(services: dict[str, Any]) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", []) if mount["type"] == "bind"]
    writable = {Path(mount["source"]).name for mount in mounts if not mount.get("read_only")}

    assert writable == {"logs", "data"}


def test_only_the_proxy_sees_the_engine_and_only_where_tasks_run_the_proxy_is_seen(services: dict[str, Any]) -> None:
    def seeing(place: str) -> list[str]:
        mounts = {name: service.get("volumes", []) for name, service in services.items()}
        return sorted(name for name, found in mounts.items() if any(place in mount["target"] for mount in found))

    assert seeing("docker.sock") == ["docker-proxy"]
    assert seeing("/run/docker-proxy") == ["airflow-scheduler", "airflow-worker", "docker-proxy"]
    assert [name for name, service in services.items() if "jobs" in (service.get("networks") or {})] == ["docker-proxy"]


def test_env_example_shows_every_setting_with_its_default() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()
    assert len(SETTINGS) >= 15


def test_every_variable_of_the_file_is_a_setting_or_computed() -> None:
    import re

    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")))

    assert {name for name in used if not name.startswith("WINDROSE_")} <= {setting.key for setting in SETTINGS}
