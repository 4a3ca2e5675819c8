"""What the engine says of the running containers: nobody is root, nothing can be gained, little is within reach."""

from __future__ import annotations

import os
import re

import pytest

from tests.engine_support import Json, Stack, run

AIRFLOW = ("airflow-apiserver", "airflow-dag-processor", "airflow-scheduler", "airflow-triggerer", "janitor")
READ_ONLY = {"/opt/airflow/dags", "/opt/airflow/plugins", "/opt/airflow/config", "/opt/windrose/generated"}
UID = os.getuid() or 50000


def service_of(container: Json) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_no_container_is_root_or_can_become_it(stack: Stack) -> None:
    found = {
        service_of(container): (
            container["Config"]["User"],
            container["HostConfig"]["CapDrop"],
            container["HostConfig"]["CapAdd"],
            container["HostConfig"]["SecurityOpt"],
            container["HostConfig"]["ReadonlyRootfs"],
            container["HostConfig"]["Privileged"],
        )
        for container in stack.inspect()
    }

    expected = {name: (f"{UID}:0", ["ALL"], None, ["no-new-privileges:true"], True, False) for name in stack.services()}
    # It reads the keys of whoever runs make, root included; without a capability and without a network.
    expected["keys"] = (f"{os.getuid()}:0", *expected["keys"][1:])
    assert found == expected
    assert len(found) == 8


def test_every_container_has_limits_and_comes_back(stack: Stack) -> None:
    for container in stack.inspect():
        host = container["HostConfig"]

        assert host["Memory"] > 0
        assert host["MemorySwap"] == host["Memory"]
        assert host["PidsLimit"] > 0
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        expected = "no" if service_of(container) == "airflow-init" else "unless-stopped"
        assert host["RestartPolicy"]["Name"] == expected


def test_only_the_web_page_is_published_and_only_here(stack: Stack) -> None:
    published = {service_of(container): container["HostConfig"]["PortBindings"] for container in stack.inspect()}

    front = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}
    assert {name: ports for name, ports in published.items() if ports} == {"airflow-apiserver": front}


def test_code_and_configuration_are_read_only(stack: Stack) -> None:
    mounts = [(service_of(c), mount) for c in stack.inspect() for mount in c["Mounts"]]

    writable = {mount["Destination"] for _, mount in mounts if mount["RW"]}
    assert writable == {"/opt/airflow/logs", "/opt/airflow/data", "/tmp", "/var/lib/postgresql/data", "/run/secrets"}
    assert [service for service, mount in mounts if mount["Destination"] == "/run/secrets" and mount["RW"]] == ["keys"]
    assert {mount["Destination"] for _, mount in mounts} >= READ_ONLY
    assert [mount for _, mount in mounts if "docker.sock" in mount["Source"]] == []


@pytest.mark.parametrize("service", [*AIRFLOW, "postgres"])
def test_process_inside_has_a_name_and_no_power(stack: Stack, service: str) -> None:
    done = stack.exec(service, "sh", "-c", "whoami; echo $HOME; getent passwd $(id -u); id -u; cat /proc/1/status")

    name, home, entry, uid, *status = done.stdout.splitlines()
    facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert (uid, entry.split(":")[0], entry.split(":")[5]) == (str(UID), name, home)
    assert (facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert set(facts["Uid"].split()) == {str(UID)}


@pytest.mark.parametrize("service", AIRFLOW)
def test_configuration_with_secrets_lies_in_memory(stack: Stack, service: str) -> None:
    script = "stat -c '%a %u' $AIRFLOW_CONFIG; df --output=fstype $AIRFLOW_CONFIG | tail -1"
    done = stack.exec(service, "sh", "-c", script)

    assert done.stdout.split() == ["600", str(UID), "tmpfs"]


def test_files_of_secrets_are_the_owners_alone(stack: Stack) -> None:
    folder = stack.folder / "secrets"

    found = {(oct(path.stat().st_mode)[-3:], path.stat().st_uid) for path in folder.iterdir()}

    assert (oct(folder.stat().st_mode)[-3:], found) == ("700", {("600", UID)})


def test_each_service_gets_only_the_secrets_it_needs(stack: Stack) -> None:
    found = {
        service: stack.exec(service, "sh", "-c", "ls /run/windrose 2>/dev/null", check=False).stdout.split()
        for service in (*AIRFLOW, "postgres")
    }

    assert found == {
        "airflow-apiserver": ["api_secret_key", "database_password", "fernet_key", "jwt_secret"],
        "airflow-dag-processor": ["database_password", "fernet_key"],
        "airflow-scheduler": ["broker_password", "database_password", "jwt_secret"],
        "airflow-triggerer": ["database_password", "fernet_key"],
        "janitor": ["database_password"],
        "postgres": ["database_password"],
    }


def test_networks_of_database_and_broker_lead_nowhere_else(stack: Stack) -> None:
    names = [f"{stack.project}_{name}" for name in ("database", "front")]
    internal = run("docker", "network", "inspect", "--format={{.Internal}}", *names).stdout.split()

    networks = {service_of(c): [n.split("_")[-1] for n in c["NetworkSettings"]["Networks"]] for c in stack.inspect()}
    assert internal == ["true", "false"]
    assert (networks["postgres"], networks["janitor"], networks["keys"]) == (["database"], ["database"], ["none"])


def test_every_service_has_a_health_check(stack: Stack) -> None:
    without = [service_of(c) for c in stack.inspect() if not c["Config"].get("Healthcheck")]

    assert without == ["airflow-init"]
    assert re.fullmatch(r"[0-9a-f]{64}", stack.id("postgres"))
