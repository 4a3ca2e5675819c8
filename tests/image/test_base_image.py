"""The stand-in keeps what programs rely on in the official Airflow image."""

from __future__ import annotations

import pytest

from tests.engine_support import run

BASE = "windrose/airflow-base:3.3.2-local"
FACTS = 'id -u; id -g; echo "$HOME"; echo "$AIRFLOW_HOME"; command -v python airflow curl dumb-init; pwd'

pytestmark = pytest.mark.usefixtures("usual")


def start(*words: str, options: tuple[str, ...] = ()) -> list[str]:
    """Start the image with its own entrypoint; return the lines it printed."""
    return run("docker", "run", "--rm", "--network=none", *options, BASE, *words, timeout=120).stdout.splitlines()


def test_facts_are_those_of_the_official_image() -> None:
    said = start("bash", "-c", FACTS)

    bin_of = "/home/airflow/.local/bin"
    programs = [f"{bin_of}/python", f"{bin_of}/airflow", "/usr/bin/curl", "/usr/bin/dumb-init"]
    assert said == ["50000", "0", "/home/airflow", "/opt/airflow", *programs, "/opt/airflow"]


@pytest.mark.parametrize(
    ("words", "last"),
    [
        pytest.param(["airflow", "version"], "3.3.2", id="airflow"),
        pytest.param(["version"], "3.3.2", id="bare sub-command"),
        pytest.param(["bash", "-c", "echo said"], "said", id="bash"),
        pytest.param(["python", "-c", "print('said')"], "said", id="python"),
    ],
)
def test_entrypoint_runs_what_it_is_told(words: list[str], last: str) -> None:
    assert start(*words)[-1] == last


def test_base_needs_no_secret_to_start() -> None:
    facts = run("docker", "image", "inspect", "--format={{.Config.User}} {{json .Config.Entrypoint}}", BASE).stdout

    assert facts.strip() == 'airflow ["/usr/bin/dumb-init","--","/entrypoint"]'
