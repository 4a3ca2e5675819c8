"""From secrets.yaml to the plan: read, check everything, and only then say what there is to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import process, settings
from scripts.errors import KitError
from scripts.platforms import kubeconfig, references, yaml_reader
from scripts.platforms.connections import Login, build, endpoint, pool, url_endpoint
from scripts.platforms.entries import Content, Entry, Held, read_content
from scripts.platforms.findings import Findings
from scripts.platforms.models import Batch, Firecrest, Kubernetes, Platform, Ssh
from scripts.platforms.plan import Endpoint, Key, Plan, SshPlatform
from scripts.platforms.values import Surroundings, fill
from scripts.platforms.yaml_reader import Document

SECRETS_FILE = settings.ROOT / "secrets.yaml"
GIT_SECONDS = 10
Pins = Callable[[str, int], str]  # address, port -> "type base64", "" where nothing is pinned
KeyPath = Callable[[Key], str]  # where tasks find a key


def load(
    path: Path = SECRETS_FILE,
    *,
    key_path: KeyPath = lambda key: f"/run/secrets/{key.target}",
    pins: Pins = lambda address, port: "",
    ask: bool = True,
) -> Plan:
    """Return what secrets.yaml asks for; raise everything that is wrong with it at once.

    With ask=False no command is run and no secret is taken from the environment: such a plan is good for looking at
    keys and platforms from any shell, not for registering.
    """
    findings = Findings(read_document(path))
    surroundings = Surroundings(path.absolute().parent, settings.environment(), ask)
    tree = fill(with_types(findings.document), (), findings, surroundings)
    content = read_content(tree, findings, surroundings)
    links = link(content, findings, key_path, pins)
    check_key_files(content, findings)
    findings.raise_all()
    return Plan(
        connections=all_connections(content, links),
        pools=all_pools(content),
        variables=all_variables(content),
        ssh=tuple(
            ssh_platform(entry, entry.model, links, findings)
            for entry in content.platforms
            if isinstance(entry.model, Ssh)
        ),
        keys=content.keys,
        endpoints=all_endpoints(content, links, findings),
        warnings=(*findings.warnings, *file_warnings(path)),
    )


def read_document(path: Path) -> Document:
    """Return what stands in the file."""
    if not os.path.exists(path):  # unlike Path.exists, without an error of its own
        raise KitError(path.name, "does not exist", "run `cp secrets.example.yaml secrets.yaml` and fill it in")
    return yaml_reader.read(path)


def with_types(document: Document) -> object:
    """Return the tree as written, but with YAML's own types where Airflow takes any JSON."""
    tree = document.data
    if not isinstance(tree, dict):
        return tree
    if "variables" in tree:
        tree["variables"] = document.typed(("variables",))
    places: list[tuple[str, ...]] = [("raw", name) for name, _ in entries_of(tree.get("raw"))]
    for group, below in entries_of(tree.get("platforms")):
        places += [("platforms", group, name) for name, _ in entries_of(below)]
    for place in places:
        entry = tree
        for part in place:
            entry = entry[part]
        for key in ("extra", "extra_dejson"):
            if isinstance(entry, dict) and key in entry:
                entry[key] = document.typed((*place, key))
    return tree


def entries_of(tree: object) -> list[tuple[str, object]]:
    """Return what a mapping holds, nothing of anything else."""
    return list(tree.items()) if isinstance(tree, dict) else []


@dataclass(frozen=True, slots=True)
class Links:
    """What belongs to a platform, by its id."""

    held: Mapping[str, Held | None]
    jumps: Mapping[str, str]
    logins: Mapping[str, Login]


def link(content: Content, findings: Findings, key_path: KeyPath, pins: Pins) -> Links:
    """Follow every name of the file to what it means; note those that lead nowhere."""
    references.check_ids(content, findings)
    references.check_keys(content.credentials, findings)
    held = {entry.id: references.find_credentials(entry, content.credentials, findings) for entry in content.platforms}
    jumps = references.check_jumps(content.platforms, held, findings)
    references.check_addresses(content.platforms, jumps, findings)
    logins = {}
    for entry in content.platforms:
        if entry.model is not None:
            logins[entry.id] = login_of(entry.model, held[entry.id], key_path, pins)
            references.check_login(entry, held[entry.id], logins[entry.id], findings)
    return Links(held, jumps, logins)


def login_of(platform: Platform, held: Held | None, key_path: KeyPath, pins: Pins) -> Login:
    """Return how a platform is logged in to."""
    host_key = ""
    if isinstance(platform, Ssh) and platform.check_host_key:
        host_key = platform.host_key or pins(platform.address, platform.port)
    if held is None:
        return Login(host_key=host_key)
    secrets = held.values
    if held.kubeconfig is not None:
        secrets["kube_config"] = json.dumps(held.kubeconfig)
    return Login("" if held.key is None else key_path(held.key), host_key, secrets)


def check_key_files(content: Content, findings: Findings) -> None:
    """Note each key on this machine that could not be used, or soon not."""
    held = [held for held in content.credentials.values() if held is not None]
    found = [(known.place, known.key) for known in held if known.key is not None and known.key.file is not None]
    if found:
        from scripts.platforms import key_files  # imports cryptography, which takes longer than all the rest

        for place, key in found:
            problem = key_files.check(key)
            if problem is not None:
                findings.add_error(place, problem)
            findings.warnings += key_files.warnings(key)


def all_connections(content: Content, links: Links) -> dict[str, dict[str, Any] | str]:
    """Return Airflow's JSON of every connection, by id."""
    made: dict[str, dict[str, Any] | str] = {
        entry.id: build(entry.model, links.logins[entry.id]) for entry in content.platforms if entry.model is not None
    }
    return {**made, **{name: value for name, (_, value) in content.raw.items()}}


def all_pools(content: Content) -> dict[str, dict[str, Any]]:
    """Return the pools of the platforms and those of the file."""
    made = {
        entry.id: pool(entry.model.pool, f"logins to {entry.id}")
        for entry in content.platforms
        if entry.model is not None and references.has_pool(entry.model)
    }
    return {**made, **content.pools}


def all_variables(content: Content) -> dict[str, Any]:
    """Return the variables of the file, and the one that tells DAGs which platforms there are."""
    platforms = [{"id": entry.id, "type": entry.type, **scheduler_of(entry.model)} for entry in content.platforms]
    return {**content.variables, **({references.PLATFORMS: platforms} if platforms else {})}


def scheduler_of(model: Platform | None) -> dict[str, str]:
    """Return a platform's batch system, where it has one: FirecREST is for nothing else."""
    has_one = isinstance(model, Firecrest) or "scheduler" in getattr(model, "model_fields_set", ())
    return {"scheduler": model.scheduler} if isinstance(model, Batch) and has_one else {}


def ssh_platform(entry: Entry, model: Ssh, links: Links, findings: Findings) -> SshPlatform:
    """Return a machine to log in to."""
    held = links.held[entry.id]
    password = held.secrets.get("password") if held is not None else None
    return SshPlatform(
        id=entry.id,
        address=model.address,
        port=model.port,
        user=model.user,
        key=held.key.name if held is not None and held.key is not None else "",
        password=password.value if password is not None else None,
        jump=links.jumps.get(entry.id, ""),
        host_key=model.host_key,
        check_host_key=model.check_host_key,
        scheduler=model.scheduler if "scheduler" in model.model_fields_set else "",
        scratch=model.scratch,
        line=findings.document.line(entry.place),
    )


def all_endpoints(content: Content, links: Links, findings: Findings) -> tuple[Endpoint, ...]:
    """Return the addresses of the platforms without SSH."""
    made = []
    for entry in content.platforms:
        held = links.held[entry.id]
        if entry.model is None or isinstance(entry.model, Ssh):
            continue
        found = endpoint(entry.model)
        if isinstance(entry.model, Kubernetes) and held is not None:
            found = url_endpoint(kubeconfig.check(held.kubeconfig, entry.model.context))
        if found is not None:
            made.append(Endpoint(entry.id, entry.type, *found, findings.document.line(entry.place)))
    return tuple(made)


def file_warnings(path: Path) -> list[str]:
    """Return what others could do with the file that holds the secrets."""
    found = []
    if path.stat().st_mode & 0o077:
        found.append(str(KitError(path.name, "can be read by others", f"run `chmod 600 {path.name}`")))
    if is_tracked(path):
        fix = f"run `git rm --cached {path.name}`, and change what it held if it was ever pushed"
        found.append(str(KitError(path.name, "is tracked by git", fix)))
    return found


def is_tracked(path: Path) -> bool:
    """Say whether git has the file; without git or a repository it has not."""
    if not (path.parent / ".git").exists():
        return False
    argv = ["git", "-C", str(path.parent), "ls-files", "--error-unmatch", path.name]
    try:
        return process.run(argv, environment=settings.environment(), timeout=GIT_SECONDS, check=False).code == 0
    except KitError:
        return False
