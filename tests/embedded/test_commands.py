"""The same commands with the same words as with Docker."""

from __future__ import annotations

import json
import re
import subprocess

from tests.embedded.conftest import Embedded
from tests.embedded.test_start import SERVICES
from tests.engine_support import eventually


def test_status_shows_every_service_and_nothing_wrong(stack: Embedded) -> None:
    done = stack.command("status")

    rows = [line.split()[:2] for line in done.stdout.splitlines()[1 : len(SERVICES) + 1]]
    assert (done.returncode, rows) == (0, [[name, "healthy"] for name in SERVICES])
    assert re.match(r"SERVICE +HEALTH +SINCE +MEMORY +VERSION$", done.stdout.splitlines()[0])
    assert "MiB" in done.stdout and done.stdout.endswith("everything is healthy\n")


def test_status_names_the_broken_dag(stack: Embedded) -> None:
    path = stack.write_dag("broken_dag.py", "from airflow.sdk import DAG\nraise ValueError('on purpose')\n")
    try:
        eventually(lambda: "on purpose" in stack.command("status").stdout, within=30)

        done = stack.command("status")
    finally:
        path.unlink()

    assert "dags/own/broken_dag.py line 2: ValueError: on purpose; mend the file" in done.stdout
    assert done.returncode == 1
    eventually(lambda: stack.command("status").returncode == 0, within=60)


def test_credentials_show_a_login_that_works(stack: Embedded) -> None:
    done = stack.make("credentials")

    assert done.stdout.splitlines()[0] == f"Airflow   http://127.0.0.1:{stack.port}"
    password = done.stdout.splitlines()[2].split()[1]
    assert (done.returncode, stack.log_in("admin", password)[0]) == (0, 201)


def test_logs_show_the_service_that_was_asked_for(stack: Embedded) -> None:
    done = stack.make("logs", "SERVICE=airflow-scheduler", "LINES=5", "FOLLOW=no")

    lines = done.stdout.splitlines()
    assert done.returncode == 0 and 1 <= len(lines) <= 5
    assert {line.split(" | ")[0].strip() for line in lines} == {"airflow-scheduler"}
    assert "SERVICE: nobody is not running; take one of" in stack.make("logs", "SERVICE=nobody", "FOLLOW=no").stderr


def test_shell_has_the_airflow_command(stack: Embedded) -> None:
    done = subprocess.run(
        ["make", "shell"],
        cwd=stack.folder,
        env=stack.environment(),
        input="airflow version; echo $HOME; exit 0\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert "3.3.2" in done.stdout and str(stack.home / "home") in done.stdout


def test_restart_of_one_service_leaves_the_others_alone(stack: Embedded) -> None:
    before = stack.pids()

    done = stack.make("restart", "SERVICE=janitor")

    after = stack.pids()
    assert (done.returncode, done.stdout) == (0, "healthy again\n")
    assert {name for name in before if before[name] != after[name]} == {"janitor"}


def test_changed_setting_restarts_only_what_uses_it(stack: Embedded) -> None:
    before = stack.pids()
    stack.configure(LOG_DAYS="7")

    stack.up()

    after = stack.pids()
    assert {name for name in before if before[name] != after[name]} == {"janitor"}


def test_hidden_library_dags_go_away_without_a_restart(stack: Embedded) -> None:
    before, shown = stack.pids(), set(stack.dag_ids())
    stack.configure(LIBRARY="none")
    stack.up()
    try:
        eventually(lambda: stack.dag_ids() == ["own-sleeping"], within=60)
    finally:
        stack.configure(LIBRARY="all")
        stack.up()
    # `up` does not wait for them, and a DAG that is not back yet cannot be triggered.
    eventually(lambda: shown <= set(stack.dag_ids()), within=60)
    assert stack.pids() == before


def test_reboot_line_or_unit_is_offered(stack: Embedded) -> None:
    done = stack.make("service", env={"PATH": "/usr/bin:/bin", "DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": ""})

    assert done.returncode == 0
    assert done.stdout.startswith("@reboot cd ") and "RUNTIME=embedded make up" in done.stdout


def test_janitor_looks_after_the_database_in_its_file(stack: Embedded) -> None:
    services = json.loads((stack.home / "wanted.json").read_text(encoding="utf-8"))["services"]
    janitor = next(service for service in services if service["name"] == "janitor")
    argv = [word.replace("janitor.py", "database_care.py") for word in janitor["argv"] if word != "-IS"]

    done = subprocess.run(
        [*argv, "clean"], env=janitor["environment"], capture_output=True, text=True, timeout=120, check=False
    )

    report = json.loads((stack.folder / "logs" / "janitor" / "report.json").read_text(encoding="utf-8"))
    assert (done.returncode, report["cleaned"]["problem"], report["cleaned"]["days"]) == (0, "", 90), done.stderr
    assert report["database_bytes"] > 100_000
