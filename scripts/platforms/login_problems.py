"""What a failed login means, and what a person does about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import KitError
from scripts.platforms import key_states
from scripts.platforms.plan import Key, Plan, SshPlatform

STEPS = ("name", "port", "host_key", "login", "shell", "scratch", "scheduler", "certificate")
PASSED = ("ok", "-", "not-checked")
Steps = Mapping[str, Sequence[str]]  # step -> state, detail

NETWORK = "check `address` and `port` in secrets.yaml, and whether this network may reach it"
# code -> what is wrong, and the mend. {said} is what the other side said of it.
REASONS = {
    "name-not-found": ("the name is not found", "check `address` in secrets.yaml, or the machine's name server"),
    "refused": ("the connection is refused", NETWORK),
    "unreachable": ("there is no way to it", NETWORK),
    "timeout": ("no answer in time", NETWORK),
    "not-ssh": ("what answers is no SSH server", "check `port` in secrets.yaml"),
    "no-agreement": ("server and client share no algorithm", "ask the site to bring its SSH server up to date"),
    "jump-failed": ("the way over {jump} does not open ({said})", "see `make check-platforms PLATFORM={jump}`"),
    "host-key-unknown": ("its host key is not pinned", "run `make trust PLATFORM={id}`"),
    "host-key-changed": (
        "it shows another host key than the pinned one",
        "run `make trust PLATFORM={id}`, which shows both",
    ),
    "key-unreadable": ("its key cannot be read by tasks", "see `make status`"),
    "key-unusable": ("its key is damaged or of a kind that is not supported", "put the right file in its place"),
    "key-missing": ("its key is not there", "name it with `file` in secrets.yaml, then run `make connections`"),
    "key-locked": ("its key is locked", "run `make connections`, which asks for the passphrase"),
    "certificate-expired": ("its certificate expired {age} ago", "{sign}"),
    "certificate-not-yet-valid": ("its certificate is good only in {age}", "check this machine's clock, or {sign}"),
    "certificate-damaged": ("its certificate cannot be read", "{sign}"),
    "closed": (
        "the server hangs up ({said})",
        "try again; if it stays so, see with `make trust PLATFORM={id}` whether its host key has changed",
    ),
    "no-shell": ("the login runs no command ({said})", "use type sftp if it is for files only, or ask the site"),
    "not-writable": ("`scratch` cannot be written ({said})", "correct it in secrets.yaml, or free some quota"),
    "no-scheduler": ("Slurm does not answer ({said})", "check `scheduler`, or load its module in the login profile"),
    "failed": ("it failed ({said})", "try again, then ask the site"),
}
SIGN = "sign it again and save it as {certificate}; there is nothing to register"


def of_login(platform: SshPlatform, steps: Steps, plan: Plan, states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each failed step of a login."""
    key = key_of(platform, plan)
    problems = []
    for step in STEPS[:-1]:  # a certificate that is over matters only where the login failed by it
        code, said = steps[step]
        if code in PASSED:
            continue
        if code in ("key-missing", "key-locked") and key and (told := of_key(key, states)):
            problems.append(f"{platform.id} {told}")
        elif code == "permission-denied":
            problems.append(denied(platform, key, said))
        else:
            problems.append(sentence(platform, key, (step, code, said), age=steps["certificate"][1]))
    return problems


def of_endpoint(name: str, steps: Steps) -> list[str]:
    """Return a sentence for each failed step of a platform that is only knocked at."""
    failed = [(step, steps[step][0]) for step in STEPS if steps[step][0] not in PASSED]
    return [str(KitError(f"{name} {step}", *REASONS.get(code, ("it failed", NETWORK)))) for step, code in failed]


def of_key(key: Key, states: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the keys service says of a key that tasks do not find."""
    if not states or key.file is None:
        return ""
    return key_states.problem(key, states.get(key.target, {}))


def sentence(platform: SshPlatform, key: Key | None, failure: tuple[str, str, str], *, age: str) -> str:
    """Return what is wrong in a step, and the mend."""
    step, code, said = failure
    problem, fix = REASONS.get(code, REASONS["failed"])
    if code == "host-key-changed" and platform.host_key:
        fix = "ask the site; if its key is new, correct `host_key` in secrets.yaml"
    certificate = f"{key.file}-cert.pub" if key and key.file else "<key>-cert.pub beside the key"
    words = {
        "id": platform.id,
        "jump": platform.jump,
        "said": said or "no reason given",
        "age": age,
        "sign": SIGN.format(certificate=certificate),
    }
    return str(KitError(f"{platform.id} {step.replace('_', ' ')}", problem.format(**words), fix.format(**words)))


def denied(platform: SshPlatform, key: Key | None, offered: str) -> str:
    """Return what to do where the server knows the user or the key not."""
    takes = f" (the server takes {offered})" if offered else ""
    where = f"{platform.id} login"
    if key is None:
        return str(KitError(where, f"permission denied{takes}", "check user and password in secrets.yaml"))
    public = Path(f"{key.file}.pub") if key.file else None
    what = str(public) if public and public.exists() else f"the public part of key {key.name}"
    place = "in MyCSC" if platform.address.lower().endswith(".csc.fi") else "with the site, for this user"
    fix = f"check `user` in secrets.yaml, then register {what} {place}"
    if key.file and Path(f"{key.file}-cert.pub").exists():
        fix += ", or sign its certificate for this user"
    return str(KitError(where, f"permission denied{takes}", fix))


def key_of(platform: SshPlatform, plan: Plan) -> Key | None:
    """Return the key that a platform logs in with."""
    connection = plan.connections.get(platform.id)
    extra = connection.get("extra", {}) if isinstance(connection, dict) else {}
    target = Path(str(extra.get("key_file", ""))).name
    same_name = [key for key in plan.keys if key.name == platform.key]
    # Keys of ssh and of sftp may share a name; the connection says which one is meant.
    return next((key for key in same_name if key.target == target), same_name[0] if same_name else None)


def cell(step: str, state: Sequence[str]) -> str:
    """Return what the table shows of a step."""
    code, detail = state
    if code == "not-checked":
        return "NOT CHECKED"
    return detail if code == "ok" and detail and step in ("scheduler", "certificate") else code


def remarks(results: Mapping[str, Steps]) -> list[str]:
    """Return what is worth a word though nothing failed."""
    return [
        f"{name}: {steps['certificate'][0].replace('-', ' ')}, but the server takes the key without it"
        for name, steps in results.items()
        if steps["login"][0] == "ok" and steps["certificate"][0] not in PASSED
    ]
