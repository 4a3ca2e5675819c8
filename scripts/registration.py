"""From secrets.yaml to what Airflow holds: check everything, then register, then tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scripts import demo
from scripts.console import say, table
from scripts.errors import KitError, Problems
from scripts.platforms import key_states, secrets_file
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import EMPTY, Plan, SshPlatform
from scripts.platforms.references import PLATFORMS
from scripts.runtime_interface import Runtime

KINDS = {"connections": "connection", "pools": "pool", "variables": "variable"}
MARK = "windrose: from secrets.yaml"
SHOWN = 6  # names in one sentence
Answer = dict[str, Any]


def read_plan(stack: Runtime, *, ask: bool = True) -> Plan:
    """Return what secrets.yaml and the demo ask for, checked as a whole; `ask` says whether secrets are asked for."""
    if not demo.PLATFORMS.exists():
        return load_secrets_file(stack, ask=ask)
    own = secrets_file.load(demo.PLATFORMS, key_path=stack.key_path, ask=False)
    return demo.added_to(read_secrets_file(stack, ask=ask), own)


def read_secrets_file(stack: Runtime, *, ask: bool = True) -> Plan:
    """Return what secrets.yaml alone asks for: nothing where there is none."""
    return load_secrets_file(stack, ask=ask) if secrets_file.SECRETS_FILE.exists() else EMPTY


def load_secrets_file(stack: Runtime, *, ask: bool) -> Plan:
    """Return what secrets.yaml asks for; raise where there is none."""
    path = secrets_file.SECRETS_FILE
    return secrets_file.load(path, key_path=stack.key_path, pins=KnownHosts.read().best, ask=ask)


def read_plan_if_there(stack: Runtime, *, ask: bool) -> tuple[Plan | None, KitError | None]:
    """Return the plan, or what is wrong with the file; neither where there is no file."""
    if not secrets_file.SECRETS_FILE.exists() and not demo.PLATFORMS.exists():
        return None, None
    try:
        return read_plan(stack, ask=ask), None
    except KitError as error:
        return None, error


def register(stack: Runtime, plan: Plan, *, adopt: Iterable[str] = (), only_compare: bool = False) -> Answer:
    """Let Airflow hold just what the plan says, or only compare; return what has changed or differs."""
    request = {
        "connections": {name: marked(value) for name, value in plan.connections.items()},
        "pools": plan.pools,
        "variables": {name: {"value": value, "description": MARK} for name, value in plan.variables.items()},
        "adopt": list(adopt),
        "mode": "diff" if only_compare else "apply",
        # Without secrets.yaml nothing says that what it once described is to go.
        "may_remove": "all" if secrets_file.SECRETS_FILE.exists() else list(demo.IDS),
    }
    return checked(stack.run_script("register", request, place="database"), only_compare=only_compare)


def remove_demo(stack: Runtime) -> Answer:
    """Take the demo out of Airflow, and nothing else: without secrets.yaml nobody knows what is to stay."""
    nothing: Answer = {"connections": {}, "pools": {}, "variables": {}, "adopt": []}
    request = {**nothing, "mode": "carry", "may_remove": [*demo.IDS, PLATFORMS]}
    return checked(stack.run_script("register", request, place="database"))


def checked(answer: Answer, *, only_compare: bool = False) -> Answer:
    """Return an answer that says that it went well; raise what did not."""
    if "failed" in answer:
        raise failure(answer["failed"])
    if answer.get("refused"):
        raise Problems([refused(name) for name in answer["refused"]])
    if answer.get("unasked"):
        raise file_is_gone(answer["unasked"])
    if answer["foreign"] and not only_compare:
        raise Problems([not_ours(name) for name in answer["foreign"]])
    if answer["unverified"]:
        names = ", ".join(answer["unverified"])
        raise KitError("Airflow", f"does not hold what was registered for {names}", "run `make connections` again")
    return answer


def marked(value: dict[str, Any] | str) -> dict[str, Any]:
    """Return a connection with the mark that makes it ours."""
    fields = {"uri": value} if isinstance(value, str) else value
    return {"description": MARK, **fields}


def failure(reason: str) -> KitError:
    """Say why Airflow could not do it, as far as it is known."""
    if reason == "InvalidToken":
        problem = "is not the key that Airflow's stored connections were encrypted with"
        return KitError("secrets/fernet_key", problem, "put the old one back from your backup, then run `make up`")
    return KitError("Airflow", f"could not register ({reason})", "see `make status`, then run it again")


def refused(name: str) -> KitError:
    """Say that Airflow cannot read a connection; its own words may hold a secret."""
    return KitError(
        f"secrets.yaml raw.{name}", "is not a connection that Airflow can read", "compare it with the guide"
    )


def file_is_gone(names: list[str]) -> KitError:
    """Say that Airflow still holds what a secrets.yaml that is gone described."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    problem = f"is not there, but Airflow still holds what it described: {', '.join(names[:SHOWN])}{more}"
    return KitError("secrets.yaml", problem, "put it back, or delete them in the web page")


def not_ours(name: str) -> KitError:
    """Say that somebody made this one by hand."""
    fix = f"rename or delete one of them, or take it over with `make connections ADOPT={name}`"
    return KitError(name, "exists in Airflow already and was not made from secrets.yaml", fix)


def show(plan: Plan, answer: Answer, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what was registered, and what is still to do."""
    logins = {platform.id: platform for platform in plan.ssh}
    places = {endpoint.id: f"{endpoint.host}:{endpoint.port}" for endpoint in plan.endpoints}
    places |= {p.id: f"{p.user}@{p.address}" + (f":{p.port}" if p.port != 22 else "") for p in plan.ssh}
    rows = [
        (name, places.get(name, ""), host_key(plan, logins.get(name)), changed(entry))
        for name, entry in answer["connections"].items()
    ]
    table(("CONNECTION", "ADDRESS", "HOST KEY", "CHANGE"), rows)
    say()
    for line in [*to_do(plan, states), *done(answer, ("pools", "variables"))]:
        say(line)
    say(f"{counted(answer)}; all read back and compared")


def done(answer: Answer, kinds: Iterable[str] = KINDS) -> list[str]:
    """Return a line for each thing that has changed."""
    lines = []
    for kind in kinds:
        for name, entry in answer[kind].items():
            # A platform's pool comes and goes with its connection, which is told.
            follows = kind == "pools" and entry["change"] != "changed" and name in answer["connections"]
            if entry["change"] != "unchanged" and not follows:
                lines.append(f"{KINDS[kind]} {name}: {changed(entry)}")
    return lines


def to_do(plan: Plan, states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a person should look after: warnings, keys that cannot be used, unknown and unchecked hosts."""
    keys = [*key_states.problems(plan, states), *key_states.notes(plan, states)]
    return [*plan.warnings, *keys, *unchecked(plan), *not_pinned(plan)]


def unchecked(plan: Plan) -> list[str]:
    """Name the platforms whose host key is not checked, again and again."""
    names = [platform.id for platform in plan.ssh if not platform.check_host_key]
    mend = "delete `check_host_key: false` in secrets.yaml, then `make trust`"
    return [f"{name}: the host key is not checked, anyone between could read along; {mend}." for name in names]


def changed(entry: Mapping[str, Any]) -> str:
    """Return what has changed, with the fields by name."""
    return ": ".join(filter(None, [entry["change"], ", ".join(entry["fields"])]))


def counted(answer: Answer) -> str:
    """Return how many of each kind there are now."""
    left = {kind: [entry for entry in answer[kind].values() if entry["change"] != "removed"] for kind in KINDS}
    return ", ".join(f"{len(left[kind])} {word}{'' if len(left[kind]) == 1 else 's'}" for kind, word in KINDS.items())


def host_key(plan: Plan, platform: SshPlatform | None) -> str:
    """Return whether the host's key is pinned."""
    if platform is None:
        return ""
    if not platform.check_host_key:
        return "NOT CHECKED"
    connection = plan.connections[platform.id]
    extra = connection.get("extra", {}) if isinstance(connection, dict) else {}
    return "pinned" if "host_key" in extra else "not pinned"


def not_pinned(plan: Plan) -> list[str]:
    """Say which platforms refuse every login until their host key is pinned."""
    names = [platform.id for platform in plan.ssh if host_key(plan, platform) == "not pinned"]
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{', '.join(names[:SHOWN])}{more}: no login until the host key is known; run `make trust`."]


def differences(answer: Answer) -> list[str]:
    """Return a line for each thing in which Airflow and secrets.yaml differ."""
    words = {"added": "is missing in Airflow", "removed": "is in Airflow but no longer in secrets.yaml"}
    lines = [f"{name}: exists in Airflow and was not made from secrets.yaml" for name in answer["foreign"]]
    for kind, word in KINDS.items():
        for name, entry in answer[kind].items():
            if entry["change"] != "unchanged" and name not in answer["foreign"]:
                lines.append(
                    f"{word} {name}: {words.get(entry['change']) or 'differs in ' + ', '.join(entry['fields'])}"
                )
    return lines
