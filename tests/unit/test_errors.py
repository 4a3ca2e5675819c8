"""Every error says where, what and how to mend it, in one line."""

from __future__ import annotations

import pytest

from scripts import __main__ as front
from scripts.errors import CommandFailed, ExitCode, KitError, Problems, UsageError


def all_kinds(kind: type[KitError] = KitError) -> list[type[KitError]]:
    """Return every kind of error there is."""
    return [kind, *(below for child in kind.__subclasses__() for below in all_kinds(child))]


def test_an_error_is_one_sentence() -> None:
    assert str(KitError(".env line 3", "AIRFLOW_PORT is 'x'", "write a port.")) == (
        ".env line 3: AIRFLOW_PORT is 'x'; write a port."
    )


def test_several_problems_are_told_at_once() -> None:
    problems = Problems([KitError("a", "is bad", "mend a"), KitError("b", "is bad", "mend b")])

    assert str(problems) == "a: is bad; mend a.\nb: is bad; mend b."


def test_a_failed_program_is_quoted_with_its_last_line() -> None:
    error = CommandFailed(["docker", "compose", "up", "--wait"], 17, "pulling\n\nno space left \n\n")

    assert (str(error), error.code) == ("docker compose up: no space left; see the lines above.", 17)


def test_a_silent_program_is_quoted_with_its_code() -> None:
    assert str(CommandFailed(["true"], 4, "")) == "true: ended with code 4; see the lines above."


def test_exit_codes_are_those_the_readme_lists() -> None:
    assert {code.name: code.value for code in ExitCode} == {"DONE": 0, "PROBLEM": 1, "USAGE": 2, "NOTHING": 3}
    assert (KitError.exit_code, UsageError.exit_code) == (ExitCode.PROBLEM, ExitCode.USAGE)


def test_every_kind_of_error_is_a_kit_error_with_an_exit_code() -> None:
    kinds = all_kinds()

    assert len(kinds) >= 4
    assert [kind for kind in kinds if kind.exit_code not in (ExitCode.PROBLEM, ExitCode.USAGE)] == []


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["up", "down"], ["__init__"], ["../up"]], ids=str)
def test_wrong_words_name_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = front.main(words)

    error = capsys.readouterr().err
    assert code == ExitCode.USAGE
    assert error.startswith("python -m scripts: takes one of ") and error.endswith("; run `make` for the list.\n")
    assert all(name in error for name in front.command_names())
