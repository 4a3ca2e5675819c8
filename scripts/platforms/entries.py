"""Which platforms, credentials and other entries does the file hold, each checked on its own?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.errors import KitError
from scripts.platforms import kubeconfig, yaml_reader
from scripts.platforms.connections import MARK, build_raw, pool
from scripts.platforms.credentials import CREDENTIALS, Client, Credential, Kubeconfig, SshKey
from scripts.platforms.fields import ID, ID_RULE, is_connection_uri
from scripts.platforms.findings import EMPTY, Findings, nearest
from scripts.platforms.models import MODELS, Platform, Pool, Raw, SecretsFile, keys_of
from scripts.platforms.plan import Key
from scripts.platforms.ssh_keys import build_key, build_token
from scripts.platforms.values import Resolved, Surroundings, Unusable, find_file, find_secrets, read_bytes
from scripts.platforms.yaml_reader import Place

LONGEST_NAME = 250  # of a pool or a variable in Airflow


@dataclass(frozen=True, slots=True)
class Entry:
    """A platform as the file describes it; without a model where something in it is wrong."""

    place: Place
    id: str
    type: str
    names: Mapping[str, str]  # what it refers to: key, jump
    model: Platform | None


@dataclass(frozen=True, slots=True)
class Held:
    """The credentials behind a key name, resolved."""

    place: Place
    type: str
    key: Key | None = None  # of SSH, or a file with a token
    secrets: Mapping[str, Resolved] = field(default_factory=dict)
    kubeconfig: object = field(default=None, repr=False)

    @property
    def values(self) -> dict[str, str]:
        """The secrets as text, as far as they are known."""
        return {name: found.value.get_secret_value() for name, found in self.secrets.items() if found.value is not None}


Credentials = dict[tuple[str, str], Held | None]  # (type, key name); None where something in it is wrong


@dataclass(frozen=True, slots=True)
class Content:
    """All that a file holds, entry by entry."""

    platforms: list[Entry]
    credentials: Credentials
    raw: dict[str, tuple[Place, dict[str, Any]]]
    variables: dict[str, Any]
    pools: dict[str, dict[str, Any]]

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every SSH key and token file of the file, used or not."""
        return tuple(held.key for held in self.credentials.values() if held is not None and held.key is not None)


def read_content(tree: object, findings: Findings, surroundings: Surroundings) -> Content:
    """Return every entry of the file; note what is wrong in one, and go on with the others."""
    if not isinstance(tree, dict):
        problem = "is empty" if tree is None else "is no mapping at its top"
        findings.add((), problem, "begin with `platforms:` as secrets.example.yaml does")
        tree = {}
    for name in tree:
        if name not in keys_of(SecretsFile):
            findings.add_unknown_key((name,), keys_of(SecretsFile))
    content = Content(
        read_platforms(tree, findings),
        read_credentials(tree, findings, surroundings),
        read_raw(tree, findings),
        read_variables(tree, findings),
        read_pools(tree, findings),
    )
    held = (content.platforms, content.credentials, content.raw, content.variables, content.pools)
    if not findings.problems and not any(held):
        findings.add((), "holds no entry", "describe a platform as secrets.example.yaml does")
    return content


def section(tree: Mapping[str, Any], place: Place, findings: Findings) -> Iterator[tuple[Place, Any]]:
    """Yield what stands below a key, entry by entry."""
    below = tree.get(str(place[-1]))
    if isinstance(below, dict):
        yield from (((*place, name), value) for name, value in below.items())
    elif below is not None:
        findings.add(place, "is not a mapping", "write `name: value` lines below it")


def read_platforms(tree: Mapping[str, Any], findings: Findings) -> list[Entry]:
    """Return every platform whose type is known."""
    found = []
    for group, below in section(tree, ("platforms",), findings):
        for place, data in section({str(group[-1]): below}, group, findings):
            entry = read_platform(place, data, findings)
            if entry is not None:
                found.append(entry)
    return found


def read_platform(place: Place, data: object, findings: Findings) -> Entry | None:
    """Return one platform."""
    if not isinstance(data, dict):
        findings.add(place, *(EMPTY if data is None else ("is not a mapping", "write `type: ssh` and more below it")))
        return None
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in MODELS:
        near = nearest(kind, MODELS) if isinstance(kind, str) else ""
        fix = f"write {near or 'one of ' + ', '.join(MODELS)}"
        if not findings.touches((*place, "type")):
            findings.add((*place, "type"), "is missing" if kind is None else "is no type that there is", fix)
        return None
    model = findings.check(MODELS[kind], data, place)
    written = data.get("id")
    name = written if isinstance(written, str) else f"{place[1]}-{place[2]}"
    if written is None and not ID.fullmatch(name):
        findings.add(place, "gives a connection id that Airflow refuses", f"add an `id` of {ID_RULE}")
    names = {key: str(data[key]) for key in ("key", "jump") if data.get(key) and not findings.touches((*place, key))}
    return Entry(place, name, kind, names, model)


def read_credentials(tree: Mapping[str, Any], findings: Findings, surroundings: Surroundings) -> Credentials:
    """Return all credentials, used or not."""
    found: Credentials = {}
    for group, below in section(tree, ("connections",), findings):
        kind = str(group[-1])
        if kind not in CREDENTIALS:
            findings.add_unknown_key(group, CREDENTIALS)
            continue
        for place, data in section({kind: below}, group, findings):
            model = findings.check(CREDENTIALS[kind], data, place)
            held = None if model is None else hold(model, place, findings, surroundings)
            found[kind, str(place[-1])] = None if findings.touches(place) else held
    return found


def hold(credential: Credential, place: Place, findings: Findings, surroundings: Surroundings) -> Held | None:
    """Return one credential with its secrets found."""
    if not ID.fullmatch(str(place[-1])):
        findings.add(place, "has a name that cannot be used", f"take {ID_RULE}")
        return None
    if findings.touches(place):
        return None
    secrets = find_secrets(credential, place, findings, surroundings)
    kind = str(place[1])
    if isinstance(credential, SshKey) and "password" not in secrets:
        key = build_key(credential, place, secrets, findings, folder=surroundings.folder)
        return Held(place, kind, key, secrets)
    if isinstance(credential, Client) and "token" in secrets:
        return Held(place, kind, build_token(place, secrets["token"], findings))
    if isinstance(credential, SshKey) and (credential.path or credential.file):
        findings.add(place, "gives both a password and a key", "delete one: a server must not be offered both")
    if isinstance(credential, Kubeconfig):
        config = read_kubeconfig(credential, place, findings, surroundings)
        return Held(place, kind, kubeconfig=config)
    return Held(place, kind, secrets=secrets)


def read_kubeconfig(credential: Kubeconfig, place: Place, findings: Findings, surroundings: Surroundings) -> object:
    """Return a kubeconfig as a tree."""
    try:
        content = read_bytes(find_file(credential.file, surroundings.folder))
        return yaml_reader.parse(content, "kubeconfig").typed(())
    except Unusable as error:
        findings.add((*place, "file"), error.problem, error.fix)
    except KitError:
        findings.add((*place, "file"), "names a file that is not YAML as a kubeconfig is", kubeconfig.FLATTEN)
    return None


def read_raw(tree: Mapping[str, Any], findings: Findings) -> dict[str, tuple[Place, dict[str, Any]]]:
    """Return the connections that are written in Airflow's own words, by id."""
    found = {}
    for place, data in section(tree, ("raw",), findings):
        name = str(place[-1])
        if not ID.fullmatch(name):
            findings.add(place, "has an id that Airflow refuses", f"take {ID_RULE}")
        elif isinstance(data, str):
            if not is_connection_uri(data):
                findings.add(place, "is no URI", "write `scheme://login:password@host:port/schema`, or a mapping")
            found[name] = (place, {"uri": data, "description": f"{MARK}from secrets.yaml"})
        else:
            model = findings.check(Raw, data, place)
            if model is not None and {"extra", "extra_dejson"} <= model.model_fields_set:
                findings.add((*place, "extra_dejson"), "stands beside extra", "keep one of them")
            found[name] = (place, build_raw(model) if model is not None else {})
    return found


def read_variables(tree: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Return Airflow's variables."""
    found = {}
    for place, value in section(tree, ("variables",), findings):
        if is_named(place, findings):
            found[str(place[-1])] = value
    return found


def read_pools(tree: Mapping[str, Any], findings: Findings) -> dict[str, dict[str, Any]]:
    """Return the pools that the file adds to those of its platforms."""
    found = {}
    for place, data in section(tree, ("pools",), findings):
        is_short = not isinstance(data, dict)
        model = findings.check(Pool, {"slots": data} if is_short else data, place)
        if is_named(place, findings) and model is not None:
            text = model.description or "from secrets.yaml"
            found[str(place[-1])] = pool(model.slots, text, include_deferred=model.include_deferred)
    return found


def is_named(place: Place, findings: Findings) -> bool:
    """Say whether a variable or a pool has a name that Airflow can keep."""
    name = str(place[-1])
    if name and len(name) <= LONGEST_NAME and name.isprintable():
        return True
    findings.add(place, "has a name that Airflow refuses", f"take one line of at most {LONGEST_NAME} characters")
    return False
