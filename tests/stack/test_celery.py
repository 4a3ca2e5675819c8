"""EXECUTOR=celery: workers run the tasks and cannot reach the database; and back to EXECUTOR=local."""

from __future__ import annotations

import json
import re

from tests.engine_support import Stack, run
from tests.stack.test_hardening import UID

WORKERS = 2


def test_two_workers_run_and_nothing_is_lost(celery: Stack) -> None:
    runs = celery.api("GET", "dags/~/dagRuns")["total_entries"]

    assert len(celery.containers("airflow-worker")) == WORKERS
    assert {"valkey", "airflow-worker"} <= set(celery.services())
    assert runs > 0
    assert celery.make("status").returncode == 0


def test_task_runs_on_a_worker_without_the_database(celery: Stack) -> None:
    path = celery.trigger("own-looking")

    assert celery.result(path) == "success"
    value = celery.api("GET", f"{path}/taskInstances/look/xcomEntries/return_value")["value"]
    seen = json.loads(value) if isinstance(value, str) else value
    hosts = [container["Config"]["Hostname"] for container in celery.containers("airflow-worker")]
    assert (seen["database"], seen["secrets"], seen["uid"]) == ("gaierror", ["broker_password"], UID)
    assert seen["host"] in hosts


def test_deferred_task_on_a_worker_leaves_a_readable_log(celery: Stack) -> None:
    path = celery.trigger("own-deferring", seconds=3)

    assert celery.result(path) == "success"
    log = celery.log(path, "wait")
    assert [phrase in log for phrase in ("the task defers", "the trigger runs", "the task goes on")] == [True] * 3


def test_worker_configuration_holds_no_way_to_the_database(celery: Stack) -> None:
    inside = celery.exec("airflow-worker", "sh", "-c", "cat $AIRFLOW_CONFIG; env; ls /run/windrose").stdout

    secrets = celery.secrets()
    assert [name for name, value in secrets.items() if value in inside] == ["broker_password"]


def test_database_port_is_closed_even_by_address(celery: Stack) -> None:
    networks = celery.containers("postgres")[0]["NetworkSettings"]["Networks"]
    addresses = [network["IPAddress"] for network in networks.values()]

    program = f"import socket; socket.create_connection(({addresses[0]!r}, 5432), timeout=3)"
    done = celery.exec("airflow-worker", "python", "-c", program, check=False)

    assert (len(addresses), done.returncode) == (1, 1)
    assert re.search(r"TimeoutError|OSError", done.stderr)


def test_broker_takes_no_command_without_the_password(celery: Stack) -> None:
    done = celery.exec("valkey", "valkey-cli", "keys", "*")

    assert done.stdout.strip() == "NOAUTH Authentication required."


def test_broker_and_worker_are_hardened_like_the_rest(celery: Stack) -> None:
    for container in [*celery.containers("valkey"), *celery.containers("airflow-worker")]:
        host = container["HostConfig"]

        assert (container["Config"]["User"], host["CapDrop"], host["ReadonlyRootfs"]) == (f"{UID}:0", ["ALL"], True)
        assert (host["SecurityOpt"], host["PortBindings"]) == (["no-new-privileges:true"], {})
        status = run(
            "docker", "exec", container["Id"], "sh", "-c", "whoami; grep -E 'CapEff|NoNewPrivs' /proc/1/status"
        )
        assert status.stdout.split()[1:] == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_plain_compose_sees_the_workers(celery: Stack) -> None:
    listed = celery.compose("ps", "--services")
    logs = celery.compose("logs", "--no-color", "--tail=3", "airflow-worker")

    assert {"airflow-worker", "valkey"} <= set(listed.stdout.split())
    assert (logs.returncode, logs.stdout.count("airflow-worker-") >= WORKERS) == (0, True)


def test_second_up_touches_no_worker(celery: Stack) -> None:
    before = celery.starts()

    celery.up()

    assert celery.starts() == before
