"""What a job's parameters mean: as a DAG writes them, or as texts from a form or a template."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from windrose.slurm.script import Container, ScriptError, Work

Limit = timedelta | float | str | None
Words = str | Sequence[Any] | None
Names = Mapping[str, Any] | str | None


class Around(Protocol):
    """What an operator says of the work beside what is run."""

    arguments: Any
    environment: Any
    preamble: Any
    modules: Any
    workdir: Any
    container: Any


def work_of(said: Around, command: str, script: str) -> Work:
    """Return what a job does."""
    return Work(
        script=script,
        command=command,
        arguments=arguments(said.arguments, "arguments"),
        environment=mapping(said.environment, "environment"),
        preamble=said.preamble or "",
        modules=words(said.modules),
        folder=said.workdir or "",
        container=container(said.container),
    )


def mapping(value: Names, name: str) -> dict[str, Any]:
    """Return names and values; a text is JSON."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ScriptError(f"{name} is not JSON ({error}); write names and values.") from None
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise ScriptError(f"{name} is a {type(value).__name__}; write names and values.")
    return {str(key): "" if each is None else each for key, each in value.items()}


def words(value: Words) -> list[str]:
    """Return the words of a list, or of a text with blanks or commas between them."""
    if not value:
        return []
    return re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else [str(each) for each in value]


def arguments(value: Words, name: str) -> list[str]:
    """Return the words of a list, or of a text that quotes as a shell does."""
    if not isinstance(value, str):
        return words(value)
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ScriptError(
            f"{name}: {value[:60]!r} cannot be read ({str(error).lower()}); close what is open."
        ) from None


def container(value: Names) -> Container | None:
    """Return what is said of a container: its image alone, or a dict of image, binds and options."""
    if not value:
        return None
    if isinstance(value, str):
        return Container(image=value)
    if unknown := set(value) - {"image", "binds", "options"}:
        raise ScriptError(f"container: there is no {', '.join(sorted(unknown))}; write image, binds and options.")
    options = arguments(value.get("options"), "the container's options")
    return Container(image=str(value.get("image") or ""), binds=words(value.get("binds")), options=options)


def seconds_of(limit: Limit, name: str) -> float:
    """Return a limit in seconds, 0 where there is none; a number is minutes."""
    if limit is None or limit == "":
        return 0.0
    try:
        seconds = limit.total_seconds() if isinstance(limit, timedelta) else float(limit) * 60
    except (ValueError, TypeError):
        raise ScriptError(f"{name} is {limit!r}; write minutes, or a timedelta.") from None
    if not 0 < seconds < 1e10:
        raise ScriptError(f"{name} is {limit!r}; write a time that can pass.")
    return seconds
