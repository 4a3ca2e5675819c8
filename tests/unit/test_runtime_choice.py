"""Which runtime is chosen, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import boot_service, embedded_places, embedded_start, images, runtime
from scripts.compose import ComposeStack
from scripts.embedded import EmbeddedStack, age
from scripts.errors import KitError
from scripts.settings import SETTINGS, Settings


def settings(**values: str) -> Settings:
    """Return the defaults with some values set."""
    return Settings({s.key: s.default for s in SETTINGS} | values, {}, {}, frozenset(values))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker of the test's own, and nothing running here."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(embedded_start, "current", lambda: None)
    monkeypatch.setattr(images, "BUILT", tmp_path / "images")
    return tmp_path / "docker"


def write(program: Path, script: str) -> None:
    """Write a program."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("echo 27.0", ComposeStack, "with Docker, whose engine answers"),
        ("echo Cannot connect >&2; exit 1", EmbeddedStack, "without Docker: no engine answers"),
        (
            "echo permission denied while trying to connect >&2; exit 1",
            EmbeddedStack,
            "without Docker: its engine is there, but not for you (run `sudo usermod -aG docker $USER` and",
        ),
        ('[ "$1" = version ] && echo 27.0', EmbeddedStack, "without Docker: Compose is missing"),
        (
            '[ "$1" = version ] && echo 27.0 || echo 2.10.1',
            EmbeddedStack,
            "without Docker: its Compose is 2.10.1, needed is 2.24",
        ),
    ],
    ids=["answers", "silent", "refuses", "no compose", "old compose"],
)
def test_auto_takes_docker_where_it_can_be_used(docker: Path, script: str, kind: type, reason: str) -> None:
    write(docker, script)

    choice = runtime.decide(settings())

    assert isinstance(choice.stack, kind)
    assert choice.reason.startswith(reason)


def test_what_runs_here_already_is_kept(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(docker, "echo 27.0")
    monkeypatch.setattr(embedded_start, "current", lambda: "something")

    choice = runtime.decide(settings())

    assert (type(choice.stack), choice.reason) == (EmbeddedStack, "without Docker, as it runs here already")


@pytest.mark.parametrize(("word", "kind"), [("compose", ComposeStack), ("embedded", EmbeddedStack)])
def test_setting_overrides_what_was_found(word: str, kind: type) -> None:
    choice = runtime.decide(settings(RUNTIME=word))

    assert isinstance(choice.stack, kind) and (choice.stack.name, choice.reason) == (word, "")


def test_unit_names_runtime_and_folder_and_keeps_percent_signs() -> None:
    text = boot_service.unit_text(Path("/srv/50% more"), "compose", "/usr/bin", "/usr/bin/make")

    assert "\nWorkingDirectory=/srv/50%% more\n" in text
    assert "\nEnvironment=RUNTIME=compose\n" in text and "\nExecStart=/usr/bin/make up\n" in text


def test_cron_line_survives_blanks_and_percent_signs() -> None:
    line = boot_service.cron_line("embedded", Path("/srv/50% more"))

    assert line.startswith(r"@reboot cd '/srv/50\% more' && PATH=")
    assert line.endswith("RUNTIME=embedded make up >>.windrose/boot.log 2>&1")


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "3 seconds"), (119, "119 seconds"), (120, "2 minutes"), (90000, "25 hours")]
)
def test_age_is_told_in_words(seconds: int, words: str) -> None:
    assert age(seconds) == words


def test_an_airflow_that_lives_in_docker_is_not_replaced_by_an_empty_one(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docker, "echo Cannot connect >&2; exit 1")
    monkeypatch.setattr(embedded_places, "DATABASE", tmp_path / "airflow.db")
    (tmp_path / "images").touch()

    with pytest.raises(KitError, match="^Docker: this clone's Airflow is there, but no engine answers; start the "):
        runtime.decide(settings())
    (tmp_path / "airflow.db").touch()

    assert isinstance(runtime.decide(settings()).stack, EmbeddedStack)
