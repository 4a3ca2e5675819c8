"""The commands of every day, and plain Compose beside them, on a running stack."""

from __future__ import annotations

import os
import pty
import subprocess

from tests.engine_support import Stack, run

RUNNING = [
    "airflow-apiserver",
    "airflow-dag-processor",
    "airflow-scheduler",
    "airflow-triggerer",
    "janitor",
    "keys",
    "postgres",
]


def test_plain_compose_sees_the_same_stack(stack: Stack) -> None:
    listed = stack.compose("ps", "--services")
    logs = stack.compose("logs", "--no-color", "--tail=2", "janitor")
    inside = stack.compose("exec", "-T", "airflow-scheduler", "id", "-u")

    assert sorted(listed.stdout.split()) == RUNNING
    assert "janitor: freed" in logs.stdout
    assert inside.stdout.strip() == stack.exec("airflow-scheduler", "id", "-u").stdout.strip()


def test_status_shows_every_service(stack: Stack) -> None:
    done = stack.make("status")

    header, *rows = done.stdout.splitlines()[: len(RUNNING) + 1]
    assert (header.split(), [row.split()[:2] for row in rows]) == (
        ["SERVICE", "HEALTH", "SINCE", "MEMORY", "VERSION"],
        [[service, "healthy"] for service in RUNNING],
    )


def test_logs_shows_the_lines_of_one_service(stack: Stack) -> None:
    done = stack.make("logs", "SERVICE=postgres", "LINES=3", "FOLLOW=no")

    assert (done.returncode, len(done.stdout.splitlines()), "postgres-1" in done.stdout) == (0, 3, True)


def test_logs_of_an_unknown_service_names_the_known(stack: Stack) -> None:
    done = stack.make("logs", "SERVICE=postgers", "FOLLOW=no")

    known = ", ".join(stack.services())
    assert (done.stdout, done.stderr.splitlines()[0]) == ("", f"SERVICE: postgers is not running; take one of {known}.")


def test_credentials_shows_a_login_that_works(stack: Stack) -> None:
    done = stack.make("credentials")

    password = stack.secrets()["admin_password"]
    expected = f"Airflow   http://127.0.0.1:{stack.port}\nUser      admin\nPassword  {password}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_restart_of_one_service_restarts_only_it(stack: Stack) -> None:
    before = stack.starts()

    done = stack.make("restart", "SERVICE=janitor")

    after = stack.starts()
    assert (done.returncode, done.stdout) == (0, "healthy again\n")
    assert [name for name in after if after[name] != before[name]] == [f"/{stack.project}-janitor-1"]


def test_clean_without_consent_names_the_loss_only(stack: Stack) -> None:
    before = (stack.starts(), stack.secrets())

    done = stack.make("clean")

    first, *_, last = done.stdout.splitlines()
    assert (done.returncode, first) == (2, "This deletes, for good:")
    assert "make clean CONFIRM=yes" in last
    assert (stack.starts(), stack.secrets()) == before


def test_shell_has_the_airflow_command(stack: Stack) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"airflow version | tail -1; exit\n")

    with subprocess.Popen(
        ["make", "shell"], cwd=stack.folder, env=stack.environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = read_all(ours)

    assert (process.returncode, "3.3.2" in said) == (0, True)
    assert run("docker", "ps", "--all", "--quiet", f"--filter=name={stack.project}-airflow-cli").stdout == ""


def read_all(terminal: int) -> str:
    """Read a terminal until the program has gone."""
    parts = b""
    try:
        while part := os.read(terminal, 4096):
            parts += part
    except OSError:
        pass
    return parts.decode("utf-8", "replace")
