"""What stands in the way of `make up` is told in a sentence, before anything is touched."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import tree
from tests.engine_support import Stack


@pytest.fixture
def untouched(stack: Stack) -> Iterator[Stack]:
    """The running stack, of which no container may change during the test."""
    before = stack.starts()
    yield stack
    stack.configure()
    assert stack.starts() == before


def test_taken_port_is_named_with_its_holder(untouched: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        untouched.configure(AIRFLOW_PORT=str(port))

        done = untouched.make("up")

    del untouched.settings["AIRFLOW_PORT"]
    holder = f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
    sentence = f"port {port}: is taken by {holder}; stop that, or set AIRFLOW_PORT in .env."
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (2, "", sentence)


@pytest.mark.parametrize("command", ["up", "status", "down", "restart", "build"])
def test_unreachable_engine_is_one_sentence(untouched: Stack, command: str) -> None:
    done = untouched.make(command, env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})

    told = [line for line in done.stderr.splitlines() if not line.startswith(("make", "stopping"))]
    sentence = "start or update it; on Debian or Ubuntu `make engine CONFIRM=yes` does all of that."
    assert (done.returncode, done.stdout, told) == (2, "", [f"Docker: no Docker Engine answers; {sentence}"])


def test_other_clone_of_the_same_name_is_refused(untouched: Stack, tmp_path: Path) -> None:
    other = Stack(tree.copy_to(tmp_path / "other"), untouched.project, untouched.port)
    other.configure()

    done = other.make("up")

    sentence = (
        f"project {untouched.project}: {untouched.folder} runs a stack of this name on this engine; "
        "set COMPOSE_PROJECT_NAME (and AIRFLOW_PORT) in this clone's .env."
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (2, "", sentence)


def test_missing_fernet_key_is_never_made_anew(untouched: Stack) -> None:
    path = untouched.folder / "secrets" / "fernet_key"
    kept = path.rename(path.with_name("kept"))

    done = untouched.make("up")

    made_anew = path.exists()
    kept.rename(path)
    sentence = (
        "secrets/fernet_key: is missing or empty but the database exists; made anew, it would lose every password that "
        "is stored in a connection or variable; put the file back from your backup, or begin anew with "
        "`make clean CONFIRM=yes`."
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (2, "", sentence)
    assert not made_anew


def test_unreadable_dag_is_named_with_the_mend(untouched: Stack) -> None:
    path = untouched.write_dag("private_dag.py", "")
    path.chmod(0o600)

    done = untouched.make("up")

    path.unlink()
    mine = os.getuid() != 0  # then the containers run as its owner, who may read it
    assert done.returncode == (0 if mine else 2)
    assert mine or "dags/own/private_dag.py: the containers (uid 50000) cannot read it" in done.stderr


def test_missing_jwt_secret_is_made_anew_and_used(stack: Stack) -> None:
    before = stack.secrets()
    (stack.folder / "secrets" / "jwt_secret").unlink()

    done = stack.make("up")

    sentence = "secrets/jwt_secret was missing and has been made anew; everyone signs in again"
    after = stack.secrets()
    assert (done.returncode, sentence in done.stderr.splitlines()) == (0, True)
    assert [name for name in after if after[name] != before[name]] == ["jwt_secret"]
    mounted = stack.exec("airflow-apiserver", "cat", "/run/windrose/jwt_secret").stdout
    assert mounted == stack.exec("airflow-scheduler", "cat", "/run/windrose/jwt_secret").stdout == after["jwt_secret"]
    stack.token = ""
    assert stack.result(stack.trigger("own-looking")) == "success"
