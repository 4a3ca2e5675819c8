"""Log in to every platform from where tasks run, and say what is wrong and how to mend it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from scripts import registration, runtime, settings
from scripts.console import progress, say, table
from scripts.errors import ExitCode, UsageError
from scripts.platforms import login_problems, ssh_files
from scripts.platforms.login_problems import STEPS, Steps
from scripts.platforms.plan import Endpoint, Plan, SshPlatform
from scripts.runtime_interface import Runtime

SECONDS = 20  # for each step of a platform
AT_ONCE = 10
HEADER = ("PLATFORM", "NAME", "PORT", "HOST KEY", "LOGIN", "SHELL", "SCRATCH", "SCHEDULER", "CERTIFICATE")


def run() -> int:
    """Try, print the table and one line a problem."""
    given = settings.arguments()
    if given["JSON"] not in ("", "yes", "no"):
        raise UsageError("JSON", "is yes or nothing", "run `make check-platforms JSON=yes`")
    stack = runtime.choose(settings.load())
    plan = registration.read_plan(stack, ask=False)
    platforms, endpoints = choose(plan, given["PLATFORM"])
    if any(waits_for_a_command(plan, platform) for platform in platforms):
        plan = registration.read_plan(stack)
    results: dict[str, Steps] = {}
    if platforms or endpoints:
        progress(f"trying {len(platforms) + len(endpoints)} platforms")
        asked = request(plan, platforms, endpoints, ssh_home=stack.ssh_home)
        results = stack.run_script("try_logins", asked, place="tasks")
    problems = tell(stack, plan, results)
    if given["JSON"] == "yes":
        say(json.dumps({"version": 1, "platforms": as_json(results, problems)}))
    else:
        show(results, problems)
    return ExitCode.PROBLEM if any(problems.values()) else ExitCode.DONE


def choose(plan: Plan, name: str) -> tuple[list[SshPlatform], list[Endpoint]]:
    """Return the platform that was named, or all."""
    platforms = [platform for platform in plan.ssh if name in ("", platform.id)]
    endpoints = [endpoint for endpoint in plan.endpoints if name in ("", endpoint.id)]
    if name and not platforms and not endpoints:
        known = [platform.id for platform in plan.ssh] + [endpoint.id for endpoint in plan.endpoints]
        near = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {near[0]}?" if near else "see `make connections CHECK=yes` for what the file holds"
        raise UsageError("PLATFORM", "is no platform of secrets.yaml that has an address", fix)
    return platforms, endpoints


def waits_for_a_command(plan: Plan, platform: SshPlatform) -> bool:
    """Say whether the password of a login comes from a command, which may ask a person and was not run so far."""
    connection = plan.connections[platform.id]
    return not platform.key and isinstance(connection, dict) and not connection.get("password")


def request(
    plan: Plan, platforms: Sequence[SshPlatform], endpoints: Sequence[Endpoint], *, ssh_home: str = ssh_files.HOME
) -> dict[str, Any]:
    """Return what to try: the connections as Airflow holds them, with the way to get there."""
    return {
        "platforms": [login(plan, platform, ssh_home) for platform in platforms],
        "endpoints": [{"id": each.id, "address": each.host, "port": each.port} for each in endpoints],
        "timeout": SECONDS,
        "parallel": AT_ONCE,
    }


def login(plan: Plan, platform: SshPlatform, ssh_home: str) -> dict[str, Any]:
    """Return one login, from the very connection that tasks get."""
    connection = plan.connections[platform.id]
    fields = connection if isinstance(connection, dict) else {}
    extra = fields.get("extra", {})
    hops = ssh_files.way(platform, {each.id: each for each in plan.ssh})
    return {
        "id": platform.id,
        "type": fields.get("conn_type", "ssh"),
        "address": platform.address,
        "port": platform.port,
        "user": platform.user,
        "password": fields.get("password"),
        "key_file": extra.get("key_file", ""),
        "host_key": extra.get("host_key", ""),
        "check_host_key": platform.check_host_key,
        "scratch": platform.scratch,
        "scheduler": platform.scheduler,
        "proxy": ssh_files.proxy_command(platform, home=ssh_home) if platform.jump else [],
        "door": hops[0].address if hops else platform.address,
    }


def tell(stack: Runtime, plan: Plan, results: Mapping[str, Steps]) -> dict[str, list[str]]:
    """Return the problems of each platform, in sentences."""
    platforms = {platform.id: platform for platform in plan.ssh}
    states = stack.key_states() if results else {}
    return {
        name: login_problems.of_login(platforms[name], steps, plan, states)
        if name in platforms
        else login_problems.of_endpoint(name, steps)
        for name, steps in results.items()
    }


def show(results: Mapping[str, Steps], problems: Mapping[str, Sequence[str]]) -> None:
    """Print the table, the problems, and the sum."""
    if not results:
        say("secrets.yaml has no platform with an address; there is nothing to try")
        return
    table(
        HEADER, [(name, *(login_problems.cell(step, steps[step]) for step in STEPS)) for name, steps in results.items()]
    )
    say()
    for line in [line for lines in problems.values() for line in lines]:
        say(line)
    for line in login_problems.remarks(results):
        say(line)
    failed = sum(1 for lines in problems.values() if lines)
    say(f"{failed} of {len(results)} cannot be used" if failed else f"all {len(results)} can be used")


def as_json(results: Mapping[str, Steps], problems: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the results for a program."""
    return {
        name: {
            "usable": not problems[name],
            "steps": {step: {"state": state, "detail": detail} for step, (state, detail) in steps.items()},
            "problems": list(problems[name]),
        }
        for name, steps in results.items()
    }
