"""No secret is anywhere but in its file and where it is used: every place that is looked at is searched."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine_support import JWT, Stack, run


def read_processes(stack: Stack) -> str:
    """Return every command line of this machine, and the environments of those processes we may read."""
    texts = [run("ps", "axww", "-o", "args").stdout]
    for container in stack.inspect():
        if container["State"]["Running"]:
            texts.append(run("docker", "top", container["Id"], "-eo", "pid,args").stdout)
            script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null"
            texts.append(run("docker", "exec", container["Id"], "sh", "-c", script, check=False).stdout)
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return "\n".join(texts)


def read_images(stack: Stack) -> str:
    """Return what the engine knows of the images."""
    images = sorted({container["Image"] for container in stack.inspect()})
    history = [run("docker", "history", "--no-trunc", image).stdout for image in images]
    return run("docker", "image", "inspect", *images).stdout + "".join(history)


def read_container_logs(stack: Stack) -> str:
    """Return all that the containers ever said."""
    done = [run("docker", "logs", container["Id"]) for container in stack.inspect()]
    return "".join(one.stdout + one.stderr for one in done)


def read_task_logs(stack: Stack) -> str:
    """Return all files below logs/."""
    files = [path for path in (stack.folder / "logs").rglob("*") if path.is_file()]
    assert len(files) >= 8
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def read_rendered(stack: Stack) -> str:
    """Return what Compose makes of the files."""
    return stack.compose("--profile=*", "config").stdout


def read_what_was_said(stack: Stack) -> str:
    """Return the output of every command of this tier, and of those that had no turn."""
    for words in (["build"], ["logs", "FOLLOW=no", "LINES=2000"], ["restart", "SERVICE=janitor"], ["status"], ["up"]):
        assert stack.make(*words).returncode == 0
    assert len(stack.said) > 20
    return "\n".join(stack.said)


def read_inspect(stack: Stack) -> str:
    """Return what the engine knows of the containers."""
    return repr(stack.inspect())


def read_generated(stack: Stack) -> str:
    """Return the files that `make up` computes."""
    files = [path for path in (stack.folder / ".windrose").rglob("*") if path.is_file()]
    assert files
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


PLACES: dict[str, Callable[[Stack], str]] = {
    "docker inspect": read_inspect,
    "images": read_images,
    "compose config": read_rendered,
    "processes": read_processes,
    "task logs": read_task_logs,
    "generated files": read_generated,
    "output": read_what_was_said,
    "container logs": read_container_logs,
}


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_can_be_read(celery: Stack, place: str) -> None:
    secrets = celery.secrets()

    text = PLACES[place](celery)

    assert len(secrets) == 6
    assert min(map(len, secrets.values())) >= 20
    assert [name for name, value in secrets.items() if value in text] == []


def test_no_token_is_in_a_log(celery: Stack) -> None:
    assert re.findall(JWT, read_container_logs(celery) + read_task_logs(celery)) == []
