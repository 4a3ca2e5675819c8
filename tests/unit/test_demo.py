"""What the demo cluster adds to the platforms and to the stack, and that it takes nothing from either."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from scripts import compose_demo, demo, images, registration, settings
from scripts.errors import KitError, UsageError
from scripts.platforms import secrets_file
from scripts.platforms.plan import Plan

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH/Rgkm/PadQHfeeuepS96RXijN3vikMrnKgX6qeGjxe"
MINE = """
platforms:
  cloud: {cpouta-1: {address: 86.50.1.1, user: ubuntu, type: ssh, key: local}}
connections: {ssh: {local: {path: /run/secrets/PLACE, password: x}}}
"""
PLACES = ("FOLDER", "KEY", "AUTHORITY", "LOGIN", "PLATFORMS")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's folder, of a clone that has no secrets.yaml."""
    old = demo.FOLDER
    for name in PLACES:
        monkeypatch.setattr(demo, name, tmp_path / "demo" / getattr(demo, name).relative_to(old))
    monkeypatch.setattr(compose_demo, "ALONE", tmp_path / "demo" / compose_demo.ALONE.name)
    monkeypatch.setattr(secrets_file, "SECRETS_FILE", tmp_path / "secrets.yaml")
    return tmp_path / "demo"


class Keeper:
    """As much of a runtime as reading the platforms needs."""

    def key_path(self, key: Any) -> str:
        return f"/run/secrets/{key.target}"


def read_plan() -> Plan:
    return registration.read_plan(Keeper())  # type: ignore[arg-type]


def start() -> None:
    demo.prepare()
    demo.write_platforms("slurm-demo", 22, HOST_KEY)


def test_demo_is_registered_under_both_names_where_there_is_no_secrets_yaml() -> None:
    start()

    plan = read_plan()

    assert sorted(plan.connections) == sorted(plan.pools) == ["cloud-cpouta-1", "hpc-demo"]
    connection = plan.connections["hpc-demo"]
    assert isinstance(connection, dict)
    assert connection["extra"] == {
        "key_file": "/run/secrets/windrose-demo",
        "host_key": HOST_KEY,
        "windrose": demo.FACTS,
    }
    listed = [{"id": name, "type": "ssh", "scheduler": "slurm"} for name in ("hpc-demo", "cloud-cpouta-1")]
    assert plan.variables["windrose_platforms"] == listed
    assert plan.warnings == ()


def test_platform_of_secrets_yaml_stays_as_that_says() -> None:
    start()
    secrets_file.SECRETS_FILE.write_text(MINE.replace("path: /run/secrets/PLACE, ", ""))
    secrets_file.SECRETS_FILE.chmod(0o600)

    plan = read_plan()

    hosts = {name: value["host"] for name, value in plan.connections.items() if isinstance(value, dict)}
    assert hosts == {"cloud-cpouta-1": "86.50.1.1", "hpc-demo": "slurm-demo"}
    assert [each.id for each in demo.platforms_of(plan)] == ["hpc-demo"]
    assert [each["id"] for each in plan.variables["windrose_platforms"]] == ["cloud-cpouta-1", "hpc-demo"]


def test_key_that_would_take_the_place_of_the_demos_is_refused(tmp_path: Path) -> None:
    start()
    shutil.copy(demo.KEY, tmp_path / "mine")
    text = MINE.replace("password: x", f"file: {tmp_path}/mine").replace("PLACE", "windrose-demo")
    secrets_file.SECRETS_FILE.write_text(text)

    with pytest.raises(KitError) as raised:
        read_plan()

    assert str(raised.value) == (
        "secrets.yaml: a key has the path of the demo's, /run/secrets/windrose-demo; "
        "give yours another `path`, or end the demo with `make demo DOWN=yes`."
    )


def test_without_a_demo_a_missing_secrets_yaml_is_told() -> None:
    with pytest.raises(KitError, match="secrets.yaml: does not exist; run `cp secrets.example.yaml secrets.yaml`"):
        read_plan()


def test_mistake_in_secrets_yaml_is_told_beside_a_demo() -> None:
    start()
    secrets_file.SECRETS_FILE.write_text("platforms: {x: {y: {type: nothing}}}\n")

    with pytest.raises(KitError, match=r"secrets\.yaml line 1"):
        read_plan()


def test_certificate_lets_one_user_in_for_a_year_and_is_made_anew_with_the_same_key(folder: Path) -> None:
    assert not demo.is_wanted()
    demo.prepare()
    key, first = demo.KEY.read_bytes(), (folder / "keys" / "windrose-demo-cert.pub").read_bytes()

    demo.prepare()

    certificate = load_ssh_public_identity((folder / "keys" / "windrose-demo-cert.pub").read_bytes())
    assert isinstance(certificate, SSHCertificate)
    certificate.verify_cert_signature()
    assert demo.KEY.read_bytes() == key and first.split()[:1] == [b"ssh-ed25519-cert-v01@openssh.com"]
    assert certificate.valid_principals == [b"researcher"]
    assert certificate.valid_after < time.time() and certificate.valid_before > time.time() + demo.YEAR - 60
    signer = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert (demo.LOGIN / "user_ca.pub").read_bytes().strip() == signer


def test_keys_are_their_owners_alone_and_the_cluster_sees_public_ones_only(folder: Path) -> None:
    os.umask(0o077)
    start()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}

    assert modes == {
        "windrose-demo": 0o600,
        "windrose-demo-cert.pub": 0o644,
        "user_ca": 0o600,
        "user_ca.pub": 0o644,
        "platforms.yaml": 0o600,
    }
    assert [path.name for path in demo.LOGIN.iterdir()] == ["user_ca.pub"]
    assert stat.S_IMODE(demo.LOGIN.stat().st_mode) == 0o755


def test_demo_that_is_ended_stands_among_no_platforms_though_its_container_may_still_be_there(folder: Path) -> None:
    start()

    demo.forget()

    assert (demo.is_wanted(), folder.exists()) == (False, True)
    assert registration.read_secrets_file(Keeper()) == registration.EMPTY  # type: ignore[arg-type]


def test_port_without_docker_networks_is_kept_while_it_is_free(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    monkeypatch.setattr(compose_demo, "list_containers", lambda project: [])
    (tmp_path / ".env").write_text("")
    found = settings.load(tmp_path / ".env")
    first = compose_demo.write_alone(found)

    kept = compose_demo.write_alone(found)
    monkeypatch.setattr(compose_demo, "is_free", lambda port: False)
    other = compose_demo.write_alone(found)

    assert (kept == first, other == first) == (True, False)
    written = json.loads(compose_demo.ALONE.read_text())
    assert written["services"]["slurm-demo"]["ports"] == [f"127.0.0.1:{other}:22"]


def test_down_is_yes_or_nothing(command: Callable[..., Any]) -> None:
    code, _, complaints = command("demo", DOWN="maybe")

    assert (code, complaints) == (UsageError.exit_code, ["DOWN: is yes or nothing; run `make demo DOWN=yes`."])


def test_image_is_needed_by_nobody_but_the_demo(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")

    assert images.SLURM not in images.needed(settings.load(tmp_path / ".env"))
    assert (images.SLURM.base, images.version(images.SLURM)) == ("debian", "trixie")


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command to render the file with")
def test_demo_changes_no_other_service() -> None:
    def hashes(*files: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        argv = ["docker", "compose", *(f"--file={name}" for name in files), "--env-file=/dev/null", "--profile=*"]
        done = subprocess.run(
            [*argv, "config", "--hash=*"], cwd=settings.ROOT, env=kept, capture_output=True, text=True, check=False
        )
        if "is not a docker command" in done.stderr or "unknown" in done.stderr:
            pytest.skip("docker has no Compose here")
        return dict(line.split() for line in done.stdout.splitlines())

    without, beside = hashes("docker-compose.yaml"), hashes("docker-compose.yaml", str(compose_demo.FILE))

    assert {name: beside[name] for name in without} == without
    assert set(beside) - set(without) == {demo.NAME}
