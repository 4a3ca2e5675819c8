"""Pin the host keys of platforms, so that tasks know whom they talk to."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts import registration, runtime, settings
from scripts.console import progress, say, table
from scripts.errors import ExitCode, KitError, UsageError
from scripts.one_at_a_time import one_at_a_time
from scripts.platforms import host_keys, ssh_files
from scripts.platforms.host_key_verdict import Verdict, judge
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import Plan, SshPlatform
from scripts.runtime_interface import Runtime

SECONDS = 15  # for one answer of one address


@dataclass(slots=True)
class Trusting:
    """One run: what it works on, and how it went so far."""

    stack: Runtime
    plan: Plan
    pins: KnownHosts
    trusted: Sequence[str]
    pinned: int = 0
    problems: int = 0


def run() -> int:
    """Ask the platforms for their keys, and pin what is known, published, given or agreed to."""
    given = settings.arguments()
    trusted = read_trust(given["TRUST"], given["PLATFORM"])
    stack = runtime.choose(settings.load())
    with one_at_a_time("make trust"):
        plan = registration.read_plan(stack, ask=False)
        work = Trusting(stack, plan, KnownHosts.read(), trusted)
        chosen = choose(plan, given["PLATFORM"], work.pins)
        if chosen:
            trust(work, chosen)
        elif not given["PLATFORM"]:
            say("every ssh platform has its host key pinned")
    if work.pinned:
        say("next: `make connections` writes the keys into the connections")
    return ExitCode.PROBLEM if work.problems else ExitCode.DONE


def read_trust(text: str, platform: str) -> list[str]:
    """Return the fingerprints that the caller vouches for."""
    if text and not platform:
        raise UsageError("TRUST", "needs to know for which platform", "run `make trust PLATFORM=... TRUST=...`")
    found = [host_keys.read_fingerprint(word) for word in text.replace(",", " ").split()]
    if not all(found):
        fix = "write SHA256: and 43 letters, as `ssh-keygen -l` prints it"
        raise UsageError("TRUST", "is not the fingerprint of a host key", fix)
    return found


def choose(plan: Plan, name: str, pins: KnownHosts) -> list[SshPlatform]:
    """Return the platform that was named, or all that have no key pinned yet."""
    if not name:
        checked = [platform for platform in plan.ssh if platform.check_host_key and not platform.host_key]
        return [platform for platform in checked if not pins.keys(platform.address, platform.port)]
    platform = next((platform for platform in plan.ssh if platform.id == name), None)
    if platform is None:
        near = difflib.get_close_matches(name, [platform.id for platform in plan.ssh], n=1)
        fix = f"did you mean {near[0]}?" if near else "name one of type ssh or sftp"
        raise UsageError("PLATFORM", "is no ssh platform of secrets.yaml", fix)
    if platform.host_key:
        say(f"{name}: secrets.yaml states its host key itself; nothing to do")
        return []
    if not platform.check_host_key:
        fix = "delete `check_host_key: false` in secrets.yaml first"
        raise KitError(name, "is not checked, so nothing would look at the pinned key", fix)
    return [platform]


def trust(work: Trusting, chosen: Sequence[SshPlatform]) -> None:
    """Go through the platforms, those on the way to others first: their key must be pinned to get any further."""
    platforms = {platform.id: platform for platform in work.plan.ssh}
    distance = {platform.id: len(ssh_files.way(platform, platforms)) for platform in chosen}
    for steps in sorted(set(distance.values())):
        near = [platform for platform in chosen if distance[platform.id] == steps]
        ssh_files.refresh(work.plan, work.pins, home=work.stack.ssh_home)
        answers = scan(work.stack, near)
        show(answers)
        for platform in near:
            settle(work, platform, answers[platform.id])


def scan(stack: Runtime, chosen: Sequence[SshPlatform]) -> dict[str, Any]:
    """Ask the platforms for their keys, from where tasks run."""
    progress(f"asking {', '.join(platform.id for platform in chosen)} for host keys")
    hosts = [
        {
            "id": platform.id,
            "address": platform.address,
            "port": platform.port,
            "proxy": ssh_files.proxy_command(platform, home=stack.ssh_home) if platform.jump else [],
        }
        for platform in chosen
    ]
    answers: dict[str, Any] = stack.run_script("scan_host_keys", {"hosts": hosts, "timeout": SECONDS}, place="tasks")
    return {name: {**answer, "addresses": well_formed(answer["addresses"])} for name, answer in answers.items()}


def well_formed(addresses: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return what is a key of a known kind; what a machine sends is never believed."""
    kept = {
        address: [key for key in keys if host_keys.kind(key) and host_keys.is_well_formed(*key.partition(" ")[::2])]
        for address, keys in addresses.items()
    }
    return {address: keys for address, keys in kept.items() if keys}


def show(answers: dict[str, Any]) -> None:
    """Print every fingerprint that was shown."""
    rows = [
        (name, address, host_keys.kind(key), host_keys.fingerprint(key))
        for name, answer in answers.items()
        for address, keys in answer["addresses"].items()
        for key in host_keys.in_order(keys)
    ]
    if rows:
        table(("PLATFORM", "ADDRESS", "TYPE", "FINGERPRINT"), rows)
        say()


def settle(work: Trusting, platform: SshPlatform, answer: dict[str, Any]) -> None:
    """Do for one platform what the verdict says."""
    again = f"make trust PLATFORM={platform.id}"
    if not answer["addresses"]:
        return refuse(work, platform, answer["error"] or "shows no key that is one", unreachable(platform))
    for address, why in answer["silent"].items():
        say(f"{platform.id}: {address} is left out ({why})")
    verdict = judge(
        answer["addresses"],
        work.pins.keys(platform.address, platform.port),
        host_keys.published(platform.address) if platform.port == 22 else [],
        revoked=work.pins.revoked(platform.address, platform.port),
        trusted=work.trusted,
        again=again,
    )
    if verdict.outcome == "refused":
        refuse(work, platform, verdict.reason, verdict.fix)
    elif verdict.outcome == "kept":
        say(f"{platform.id}: shows the key that is pinned; nothing to do")
    elif verdict.outcome == "pin":
        pin(work, platform, verdict.keys, verdict.reason)
    elif not sys.stdin.isatty():
        fingerprint = host_keys.fingerprint(verdict.keys[0])
        refuse(work, platform, "is not known yet", f"compare the fingerprint, then run `{again} TRUST={fingerprint}`")
    elif agrees(platform, verdict):
        pin(work, platform, verdict.keys, "agreed to")
    else:
        refuse(work, platform, "is not pinned", f"ask the site for its fingerprints, then run `{again}`")
    return None


def unreachable(platform: SshPlatform) -> str:
    """Return what to do where no key came back."""
    if platform.jump:
        return f"see `make check-platforms PLATFORM={platform.jump}`"
    return "check its `address` and `port` in secrets.yaml, and whether this network may reach it"


def agrees(platform: SshPlatform, verdict: Verdict) -> bool:
    """Ask the person at the terminal."""
    kinds = " and ".join(host_keys.kind(key) for key in verdict.keys)
    say(f"{platform.id} is not known yet. Compare with what the site publishes, or run there:")
    say("  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    say(f"Pin its {kinds} key? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def pin(work: Trusting, platform: SshPlatform, keys: Sequence[str], why: str) -> None:
    """Pin at once: what was settled stays settled, whatever comes after."""
    work.pins.pin(platform.address, platform.port, list(keys))
    work.pins.write()
    ssh_files.refresh(work.plan, work.pins, home=work.stack.ssh_home)
    work.pinned += 1
    say(f"{platform.id}: pinned {', '.join(host_keys.kind(key) for key in keys)} ({why})")


def refuse(work: Trusting, platform: SshPlatform, problem: str, fix: str) -> None:
    """Tell why nothing was pinned."""
    work.problems += 1
    progress(str(KitError(platform.id, problem, fix)))
