"""What an editor refuses by the JSON schema, Windrose refuses; and the other way round for the shape of the file."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import KitError
from scripts.platforms.credentials import CREDENTIALS
from scripts.platforms.models import MODELS, Pool, Raw, SecretsFile, keys_of
from tests.secrets_file_support import HOST_KEY, load_text

SCHEMA = SecretsFile.model_json_schema()
PYTHON_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
FULL: dict[str, Any] = {
    "platforms": {
        "x": {
            "ssh": {"type": "ssh", "address": "a", "user": "u", "key": "k", "port": 22, "host_key": HOST_KEY},
            "sftp": {"type": "sftp", "address": "b", "user": "u", "key": "k", "check_host_key": False, "jump": "x-ssh"},
            "docker": {"type": "docker", "address": "r.example.org", "user": "u", "key": "k", "email": "e"},
            "postgres": {
                "type": "postgres",
                "address": "a",
                "user": "u",
                "key": "k",
                "schema": "s",
                "sslmode": "allow",
            },
            "s3": {"type": "s3", "address": "https://a.b", "region": "r", "bucket": "b", "key": "k"},
            "http": {"type": "http", "address": "https://a.b", "user": "u", "key": "k", "tags": ["t"], "extra": {}},
            "mlflow": {"type": "mlflow", "address": "https://a.b", "user": "u", "key": "k"},
            "smtp": {"type": "smtp", "address": "a", "port": 25, "user": "u", "key": "k", "ssl": False, "pool": 2},
            "firecrest": {
                "type": "firecrest",
                "address": "https://a.b",
                "token_url": "https://a.b",
                "system": "s",
                "key": "k",
                "scheduler": "slurm",
                "transport": "firecrest",
                "environment": {"A": "1"},
            },
            "kubernetes": {"type": "kubernetes", "key": "k", "namespace": "n", "context": "x"},
        }
    },
    "connections": {
        "ssh": {"k": {"path": "/run/secrets/k", "phrase": "p"}},
        "sftp": {"other": {"password": "p"}},
        **{name: {"k": {"password": "p"}} for name in ("docker", "postgres", "http", "mlflow", "smtp")},
        "s3": {"k": {"access_key": "a", "secret_key": "s"}},
        "firecrest": {"k": {"client_id": "a", "client_secret": "s"}},
        "kubernetes": {"k": {"file": "config"}},
    },
    "raw": {"one": {"conn_type": "ftp", "port": 21, "password": "p", "extra": {}, "host": "h"}, "two": "ftp://h"},
    "variables": {"v": [1, None]},
    "pools": {"a": 1, "b": {"slots": 2, "include_deferred": True}},
}
KUBECONFIG = (
    "{clusters: [{name: c, cluster: {server: 'https://a.b'}}], users: [{name: u, user: {}}],"
    " contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
)


def accepts(schema: Any, value: object) -> bool:
    """Say whether a value fits a JSON schema, as far as this one uses the language."""
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], value)
    kinds = schema.get("type", [])
    checks = [
        not kinds or any(is_of(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)),
        value in schema.get("enum", [value]) and value == schema.get("const", value),
        all(accepts(each, value) for each in schema.get("allOf", [])),
        "anyOf" not in schema or any(accepts(each, value) for each in schema["anyOf"]),
        "not" not in schema or not accepts(schema["not"], value),
        "oneOf" not in schema or sum(accepts(each, value) for each in schema["oneOf"]) == 1,
    ]
    if isinstance(value, str):
        checks.append(re.search(schema.get("pattern", ""), value) is not None)
    elif isinstance(value, int) and not isinstance(value, bool):
        checks.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    elif isinstance(value, list):
        checks += [accepts(schema.get("items", {}), item) for item in value]
    elif isinstance(value, dict):
        checks.append(set(schema.get("required", [])) <= set(value))
        checks += [accepts_key(schema, key, item) for key, item in value.items()]
    return all(checks)


def accepts_key(schema: Any, key: str, item: object) -> bool:
    """Say whether a mapping may hold this key with this value."""
    others = schema.get("additionalProperties", True)
    inner = schema.get("properties", {}).get(key, others)
    return inner if isinstance(inner, bool) else accepts(inner, item)


def is_of(kind: str, value: object) -> bool:
    """Say whether a value is of a JSON type."""
    if kind in ("integer", "number"):
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and (kind == "number" or value == int(value))
        )
    return isinstance(value, PYTHON_TYPES[kind])


def problems_of(folder: Path, tree: object) -> str:
    """Return what Windrose says against a tree, '' where it takes it."""
    (folder / "config").write_text(KUBECONFIG, encoding="utf-8")
    try:
        load_text(folder, json.dumps(tree))
    except KitError as error:
        return str(error)
    return ""


ENTRIES = {
    **{("platforms", "x", name): keys_of(model) for name, model in MODELS.items()},
    **{
        ("connections", kind, name): keys_of(CREDENTIALS[kind]) for kind, k in FULL["connections"].items() for name in k
    },
    ("raw", "one"): keys_of(Raw),
    ("pools", "b"): keys_of(Pool),
}
CASES = [pytest.param(place, keys, id=".".join(place)) for place, keys in ENTRIES.items()]


def around(place: tuple[str, ...]) -> Any:
    """Return what of the full file an entry needs: a whole file for each case would take long."""
    if place[0] != "platforms":
        return {place[0]: FULL[place[0]]}
    platforms, held = FULL["platforms"]["x"], FULL["connections"]
    kinds = {place[2], "ssh"}
    return {
        "platforms": {"x": {name: platforms[name] for name in kinds}},
        "connections": {name: held[name] for name in kinds if name != "sftp"},
    }


def changed(place: tuple[str, ...], key: str, *value: object) -> Any:
    """Return the file with one value set, or left out."""
    tree = copy.deepcopy(around(place))
    entry = tree
    for part in place:
        entry = entry[part]
    entry.pop(key, None)
    entry.update({key: value[0]} if value else {})
    return tree


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_full_file_is_taken_by_both(tmp_path: Path) -> None:
    assert (accepts(SCHEMA, FULL), problems_of(tmp_path, FULL)) == (True, "")


@pytest.mark.parametrize(("place", "keys"), CASES)
def test_wrong_shape_is_refused_by_both(tmp_path: Path, place: tuple[str, ...], keys: list[str]) -> None:
    wrong = [changed(place, key, None) for key in keys] + [changed(place, "hunter2", "x")]
    wrong += [changed(place, key, ["x"]) for key in keys if key != "tags"]

    assert [tree for tree in wrong if accepts(SCHEMA, tree) or not problems_of(tmp_path, tree)] == []


@pytest.mark.parametrize(("place", "keys"), CASES)
def test_what_is_missing_for_one_is_missing_for_both(tmp_path: Path, place: tuple[str, ...], keys: list[str]) -> None:
    without = {key: changed(place, key) for key in keys}

    refused = {key for key, tree in without.items() if not accepts(SCHEMA, tree)}
    said = {key: problems_of(tmp_path, tree) for key, tree in without.items()}
    assert refused == {key for key, text in said.items() if re.search(r"is missing|gives no ", text)}


@pytest.mark.parametrize(("place", "keys"), CASES)
def test_what_the_schema_refuses_is_refused(tmp_path: Path, place: tuple[str, ...], keys: list[str]) -> None:
    values = (0, 70000, 10_000_000, True, "5x", {"a": "b"})
    trees = [changed(place, key, value) for key in keys for value in values]

    refused = [tree for tree in trees if not accepts(SCHEMA, tree)]

    assert len(refused) > 0
    assert [tree for tree in refused if not problems_of(tmp_path, tree)] == []
