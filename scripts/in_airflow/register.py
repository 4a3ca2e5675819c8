"""Make Airflow hold just the connections, pools and variables of a request, in one process.

The request comes as JSON on stdin, so that no secret is in an argument, an environment or a file; it is parsed and
written by Airflow's own commands, compared here, and only names leave: the answer is one line of JSON.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MARK = "windrose: "  # begins the description of everything that is ours to change and to remove
COMPARED = ("conn_type", "description", "host", "login", "password", "port", "schema")
LASTING_POOL = "default_pool"  # Airflow's own: its slots may be set, it is never ours
# Tells the batch jobs of this Airflow from those of another one: a random word, made once. It belongs to the database
# that knows the tasks of those jobs: a database that takes over the connections of another one makes its own.
INSTALLATION = "windrose_installation"


@dataclass(frozen=True)
class Kind:
    """Connections, pools or variables: how to read what is there, and which commands change it."""

    name: str
    read: Callable[[], dict[str, dict[str, Any]]]
    parse: Callable[[dict[str, Any]], dict[str, dict[str, Any]]]
    import_command: Callable[[str], list[str]]
    delete_command: Callable[[str], list[str]]


@cache
def airflow_parser() -> ArgumentParser:
    """Return the parser of Airflow's command line: it takes a while to make."""
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def airflow(arguments: list[str]) -> None:
    """Run one command of Airflow in this process; what it prints is not for anyone: the answer is read back."""
    with redirect_stdout(io.StringIO()):
        chosen = airflow_parser().parse_args(arguments)
        chosen.func(chosen)


@contextmanager
def json_file(content: object) -> Iterator[str]:
    """Give content the name of a .json file, while it is in memory only."""
    descriptor = os.memfd_create("windrose")
    try:
        os.write(descriptor, json.dumps(content).encode())
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "request.json"
            link.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
            yield str(link)
    finally:
        os.close(descriptor)


def read_rows(model: type) -> list[Any]:
    """Return all rows of one of Airflow's tables."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows: list[Any] = list(session.scalars(select(model)))
        session.expunge_all()
    return rows


def connection_fields(row: object) -> dict[str, Any]:
    """Return the fields of a connection that count, each key of `extra` as a field of its own."""
    fields = {name: getattr(row, name) or None for name in COMPARED}
    text = getattr(row, "extra", None)
    try:
        extra = json.loads(text) if text else {}
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        return {**fields, "extra": text}
    return {**fields, **{f"extra.{key}": value for key, value in extra.items()}}


def read_connections() -> dict[str, dict[str, Any]]:
    """Return the connections that Airflow has."""
    from airflow.models.connection import Connection

    return {row.conn_id: connection_fields(row) for row in read_rows(Connection)}


def parse_connections(wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what Airflow's own parser makes of the request."""
    from airflow.secrets.local_filesystem import load_connections_dict

    with json_file(wanted) as path:
        return {name: connection_fields(row) for name, row in load_connections_dict(path).items()}


def read_pools() -> dict[str, dict[str, Any]]:
    """Return the pools that Airflow has."""
    from airflow.models.pool import Pool

    names = ("slots", "description", "include_deferred")
    return {row.pool: {name: getattr(row, name) for name in names} for row in read_rows(Pool)}


def variable_fields(text: object, description: str | None) -> dict[str, Any]:
    """Return the fields of a variable; two spellings of one JSON value are the same."""
    with suppress(TypeError, ValueError):
        text = json.loads(str(text))
    return {"value": text, "description": description}


def read_variables() -> dict[str, dict[str, Any]]:
    """Return the variables that Airflow has."""
    from airflow.models.variable import Variable

    return {row.key: variable_fields(row.val, row.description) for row in read_rows(Variable)}


def parse_variables(wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields that the variables of a request will have."""
    texts = {
        name: entry["value"] if isinstance(entry["value"], str) else json.dumps(entry["value"])
        for name, entry in wanted.items()
    }
    return {name: variable_fields(texts[name], entry["description"]) for name, entry in wanted.items()}


KINDS = (
    Kind(
        "connections",
        read_connections,
        parse_connections,
        lambda path: ["connections", "import", path, "--overwrite"],
        lambda name: ["connections", "delete", name],
    ),
    Kind(
        "pools",
        read_pools,
        lambda wanted: wanted,
        lambda path: ["pools", "import", path],
        lambda name: ["pools", "delete", name],
    ),
    Kind(
        "variables",
        read_variables,
        parse_variables,
        lambda path: ["variables", "import", path, "--action-on-existing-key", "overwrite"],
        lambda name: ["variables", "delete", name],
    ),
)


def is_ours(fields: dict[str, Any]) -> bool:
    """Say whether the description carries our mark."""
    return str(fields.get("description") or "").startswith(MARK)


def differing(present: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names of the fields that differ."""
    return sorted(name for name in {*present, *wanted} if present.get(name) != wanted.get(name))


def compare(present: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return name -> what has to change, for all that is wanted and all that is ours."""
    changes = {}
    for name, fields in wanted.items():
        if name not in present:
            changes[name] = {"change": "added", "fields": []}
        else:
            found = differing(present[name], fields)
            changes[name] = {"change": "changed" if found else "unchanged", "fields": found}
    for name, fields in present.items():
        if name not in wanted and name != LASTING_POOL and is_ours(fields):
            changes[name] = {"change": "removed", "fields": []}
    return changes


def changes_in(
    request: dict[str, Any], present: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return name -> what has to change; "carry" removes nothing but what it names."""
    changes = compare(present, wanted)
    if request["mode"] != "carry":
        return changes
    named = request.get("may_remove", ())
    return {name: entry for name, entry in changes.items() if entry["change"] != "removed" or name in named}


def foreign(kind: Kind, present: dict[str, dict[str, Any]], wanted: Iterable[str], adopted: list[str]) -> list[str]:
    """Return the wanted names that somebody else made."""
    return [
        name
        for name in wanted
        if name in present and not is_ours(present[name]) and name not in adopted and name != LASTING_POOL
    ]


def apply(kind: Kind, request: dict[str, Any], present: dict[str, dict[str, Any]], changes: dict[str, Any]) -> None:
    """Remove what is no longer wanted, then import what is new or differs."""
    for name, entry in changes.items():
        # Airflow's import leaves a stored password in place where the new connection has none.
        is_stale = entry["change"] == "changed" and "password" in entry["fields"]
        if entry["change"] == "removed" or is_stale:
            airflow(kind.delete_command(name))
    chosen = {name: request[name] for name, entry in changes.items() if entry["change"] in ("added", "changed")}
    if chosen:
        with json_file(chosen) as path:
            airflow(kind.import_command(path))


def unasked(answer: dict[str, Any], may_remove: list[str] | str) -> list[str]:
    """Return the connections that would go though nobody said so: a request may name all that it can do without."""
    if may_remove == "all":
        return []
    changes = answer["connections"].items()
    return [name for name, entry in changes if entry["change"] == "removed" and name not in may_remove]


def keep_lasting_pool(request: dict[str, Any], present: dict[str, dict[str, Any]]) -> None:
    """Let Airflow's own pool keep its description: it must never look like ours."""
    if LASTING_POOL in request:
        request[LASTING_POOL]["description"] = present.get(LASTING_POOL, {}).get("description") or "Default pool"


def keep_installation(present: dict[str, dict[str, Any]]) -> None:
    """Give this Airflow the word that marks its batch jobs, unless it has one."""
    if INSTALLATION not in present:
        text = "Marks the batch jobs of this installation. Do not change it: running jobs would no longer be known."
        airflow(["variables", "set", INSTALLATION, secrets.token_hex(8), "--description", text])


def refused_connections(wanted: dict[str, Any]) -> list[str]:
    """Return the connections that Airflow's parser does not take, one by one: its own message may hold a secret."""
    refused = []
    for name, value in wanted.items():
        try:
            parse_connections({name: value})
        except Exception:  # whatever it is, the parser does not take it
            refused.append(name)
    return refused


def register(request: dict[str, Any]) -> dict[str, Any]:
    """Bring Airflow to what is requested; or only say what differs ("diff"), or remove nothing ("carry")."""
    answer: dict[str, Any] = {"foreign": [], "unverified": []}
    present = {kind.name: kind.read() for kind in KINDS}
    keep_lasting_pool(request["pools"], present["pools"])
    request["variables"].pop(INSTALLATION, None)
    try:
        wanted = {kind.name: kind.parse(request[kind.name]) for kind in KINDS}
    except Exception:
        # The parser's message may quote a secret, so the connections are named instead; another cause stays a failure.
        refused = refused_connections(request["connections"])
        if not refused:
            raise
        return {**answer, "refused": refused}
    for kind in KINDS:
        answer[kind.name] = changes_in(request, present[kind.name], wanted[kind.name])
        answer["foreign"] += foreign(kind, present[kind.name], wanted[kind.name], request["adopt"])
    if answer["foreign"] or request["mode"] == "diff":
        return answer
    left_alone = unasked(answer, request.get("may_remove", "all"))
    if left_alone:
        return {**answer, "unasked": left_alone}
    for kind in KINDS:
        apply(kind, request[kind.name], present[kind.name], answer[kind.name])
    keep_installation(present["variables"])
    for kind in KINDS:
        left = compare(kind.read(), wanted[kind.name])
        answer["unverified"] += [name for name in wanted[kind.name] if left[name]["change"] != "unchanged"]
    return answer


if __name__ == "__main__":
    try:
        said = register(json.load(sys.stdin))
    except Exception as error:
        # Its message may hold what was to be written.
        said = {"failed": type(error).__name__}
    sys.stdout.write(json.dumps(said) + "\n")
