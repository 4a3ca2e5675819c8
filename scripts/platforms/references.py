"""Do the names of the file meet: ids, keys, jump hosts, addresses, paths?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from scripts.platforms import kubeconfig
from scripts.platforms.connections import Login, own_extra
from scripts.platforms.credentials import CREDENTIALS
from scripts.platforms.entries import Content, Credentials, Entry, Held
from scripts.platforms.findings import Findings, nearest
from scripts.platforms.models import Firecrest, Http, Kubernetes, Mlflow, Platform, Smtp, Ssh
from scripts.platforms.values import Unusable
from scripts.platforms.yaml_reader import Place

PLATFORMS = "windrose_platforms"  # the variable in which DAGs read which platforms there are
OWN_VARIABLES = {
    PLATFORMS: "is what Windrose tells DAGs of the platforms",
    "windrose_installation": "marks the batch jobs of an installation, which makes it itself",
}


def check_ids(content: Content, findings: Findings) -> None:
    """Note each id that is taken already, and each pool that a platform has made its own."""
    places = [(entry.id, entry.place) for entry in content.platforms]
    places += [(name, place) for name, (place, _) in content.raw.items()]
    first: dict[str, Place] = {}
    for name, place in sorted(places, key=lambda named: findings.document.line(named[1])):
        if name in first:
            line = findings.document.line(first[name])
            findings.add(place, f"has the connection id of line {line}", "give one of them another `id`")
        first.setdefault(name, place)
    pooled = {entry.id for entry in content.platforms if entry.model is not None and has_pool(entry.model)}
    for name in pooled.intersection(content.pools):
        findings.add(("pools", name), "is the pool of a platform", "write `pool` in the platform instead")
    for name in OWN_VARIABLES.keys() & content.variables.keys():
        findings.add(("variables", name), OWN_VARIABLES[name], "take another name")


def has_pool(platform: Platform) -> bool:
    """Say whether a platform gets a pool: where there are logins to bound, and where the file asks for one."""
    return platform.type in ("ssh", "sftp", "firecrest") or "pool" in platform.model_fields_set


def find_credentials(entry: Entry, credentials: Credentials, findings: Findings) -> Held | None:
    """Return the credentials of a platform; note a key name that leads to none."""
    name = entry.names.get("key", "")
    if not name:
        return None
    kinds = ("sftp", "ssh") if entry.type == "sftp" else (entry.type,)
    for kind in kinds:
        if (kind, name) in credentials:
            return credentials[kind, name]
    here = (*entry.place, "key")
    elsewhere = [kind for kind in CREDENTIALS if (kind, name) in credentials]
    if elsewhere:
        problem = f"names a key of connections.{elsewhere[0]}"
        findings.add(here, problem, f"name one of connections.{kinds[-1]}, or move it there")
        return None
    near = nearest(name, [known for kind, known in credentials if kind in kinds])
    fix = f"did you mean {near}?" if near else f"add it to connections.{kinds[-1]}"
    findings.add(here, f"names nothing in connections.{kinds[-1]}", fix)
    return None


def check_login(entry: Entry, held: Held | None, login: Login, findings: Findings) -> None:
    """Note what a platform and its credentials say against each other."""
    platform = entry.model
    if platform is None:
        return
    for name in sorted(own_extra(platform, login).intersection(platform.extra)):
        findings.add((*entry.place, "extra", name), f"sets {name}, which Windrose sets itself", "delete it")
    if isinstance(platform, Http | Mlflow | Smtp):
        check_user(entry.place, platform, login, findings)
    check_token(entry.place, platform, held, findings)
    if isinstance(platform, Ssh) and platform.host_key and not platform.check_host_key:
        findings.add((*entry.place, "check_host_key"), "is false beside a host_key", "keep one of them")
    if isinstance(platform, Smtp) and platform.ssl and platform.starttls and "starttls" in platform.model_fields_set:
        findings.add((*entry.place, "starttls"), "stands beside ssl", "keep one of them")
    if isinstance(platform, Kubernetes) and held is not None:
        try:
            kubeconfig.check(held.kubeconfig, platform.context)
        except Unusable as error:
            findings.add((*held.place, "file"), error.problem, error.fix)


def check_token(place: Place, platform: Platform, held: Held | None, findings: Findings) -> None:
    """Note a client of FirecREST that nobody gives a token to."""
    if isinstance(platform, Firecrest) and not platform.token_url and held is not None and held.key is None:
        findings.add(place, "has a client but no token_url", "add `token_url`, the address that gives out its tokens")


def check_user(place: Place, platform: Http | Mlflow | Smtp, login: Login, findings: Findings) -> None:
    """Note a user without what proves it, and the other way round."""
    if login["token"] and platform.user:
        findings.add((*place, "user"), "stands beside a token, which takes none", "delete it")
    if login["password"] and not platform.user:
        findings.add(place, "has a password but no user", "add `user`")
    if platform.user and not platform.key:
        findings.add(place, "has a user but no key", f"add `key`, a name in connections.{platform.type}")


def check_jumps(entries: list[Entry], held: Mapping[str, Held | None], findings: Findings) -> dict[str, str]:
    """Return the id that each `jump` means; note those that lead nowhere or in a circle."""
    logins = {entry.id: entry for entry in entries if entry.type in ("ssh", "sftp")}
    names = {f"{entry.place[1]}.{entry.place[2]}": entry.id for entry in logins.values()} | {
        name: name for name in logins
    }
    jumps: dict[str, str] = {}
    for entry in logins.values():
        if "jump" not in entry.names:
            continue
        here = (*entry.place, "jump")
        target = names.get(entry.names["jump"], "")
        if not target:
            near = nearest(entry.names["jump"], names)
            findings.add(here, "names no ssh platform", f"did you mean {near}?" if near else "write a platform's id")
        elif target == entry.id:
            findings.add(here, "names its own platform", "name the platform on the way")
        else:
            jumps[entry.id] = target
            login = held.get(target)
            if login is not None and login.key is None:
                findings.add(here, "goes through a platform with a password", "give that one a key: ssh asks nobody")
    for name in jumps:
        if is_circle(name, jumps):
            findings.add((*logins[name].place, "jump"), "leads in a circle", "let one of them do without `jump`")
    return jumps


def is_circle(name: str, jumps: dict[str, str]) -> bool:
    """Say whether the way from a platform comes back to it."""
    current, seen = jumps[name], {name}
    while current in jumps and current not in seen:
        seen.add(current)
        current = jumps[current]
    return current == name


def check_addresses(entries: list[Entry], jumps: dict[str, str], findings: Findings) -> None:
    """Note platforms of one address that are reached in different ways: ssh's own configuration goes by address."""
    ways: dict[str, list[tuple[Place, tuple[str, int]]]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.model, Ssh):
            ways[entry.model.address.lower()].append((entry.place, (jumps.get(entry.id, ""), entry.model.port)))
    for found in ways.values():
        first_place, first = found[0]
        for place, way in found[1:]:
            if way != first and (way[0] or first[0]):
                problem = f"has the address of line {findings.document.line(first_place)}, but another jump or port"
                findings.add(place, problem, "give both the same, or two names of the machine")


def check_keys(credentials: Credentials, findings: Findings) -> None:
    """Note keys that would take each other's place."""
    for what in ("target", "name"):
        first: dict[str, Place] = {}
        for held in credentials.values():
            if held is None or held.key is None:
                continue
            value = getattr(held.key, what)
            if value in first:
                line = findings.document.line(first[value])
                problem = f"has the {'path' if what == 'target' else 'name'} of the key in line {line}"
                findings.add(held.place, problem, f"give one of them another {'`path`' if what == 'target' else what}")
            first.setdefault(value, held.place)
