"""Register what secrets.yaml describes: all of it, or nothing where anything is wrong."""

from __future__ import annotations

import json

from scripts import registration, runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode, UsageError
from scripts.one_at_a_time import one_at_a_time
from scripts.platforms.plan import Plan
from scripts.runtime_interface import Runtime


def run() -> int:
    """Check the file; then compare, or register and tell."""
    given = settings.arguments()
    stack = runtime.choose(settings.load())
    for name in ("CHECK", "DIFF", "JSON"):
        if given[name] not in ("", "yes", "no"):
            raise UsageError(name, "is yes or nothing", f"run `make connections {name}=yes`")
    wants_json = given["JSON"] == "yes"
    with one_at_a_time("make connections"):
        plan = registration.read_plan(stack)
        adopted = adoptions(given["ADOPT"], plan)
        if given["CHECK"] == "yes":
            return check(plan, wants_json)
        if given["DIFF"] == "yes":
            return compare(registration.register(stack, plan, only_compare=True), wants_json)
        return register(stack, plan, adopted, wants_json)


def adoptions(text: str, plan: Plan) -> list[str]:
    """Return the names to take over, which must be in the file."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {*plan.connections, *plan.pools, *plan.variables}
    for name in names:
        if name not in known:
            raise UsageError("ADOPT", f"{name} is not in secrets.yaml", "name what the file holds")
    return names


def check(plan: Plan, wants_json: bool) -> int:
    """Say that the file is sound."""
    counts = {"connections": len(plan.connections), "pools": len(plan.pools), "variables": len(plan.variables)}
    if wants_json:
        say(json.dumps({"version": 1, "sound": True, **counts, "warnings": plan.warnings}))
        return ExitCode.DONE
    for warning in plan.warnings:
        say(warning)
    say(f"secrets.yaml is sound: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    return ExitCode.DONE


def compare(answer: registration.Answer, wants_json: bool) -> int:
    """Say in which names and fields Airflow and the file differ."""
    lines = registration.differences(answer)
    if wants_json:
        say(json.dumps({"version": 1, **answer}))
    else:
        for line in lines:
            say(line)
        say(f"run `make connections` to restore {len(lines)}" if lines else "Airflow holds just what secrets.yaml says")
    return ExitCode.NOTHING if lines else ExitCode.DONE


def register(stack: Runtime, plan: Plan, adopted: list[str], wants_json: bool) -> int:
    """Register, bring the keys up to date, and tell."""
    progress(f"registering {len(plan.connections)} connections")
    answer = registration.register(stack, plan, adopt=adopted)
    stack.place_platforms(plan)
    stack.refresh_keys()
    states = stack.unlock(plan)
    if wants_json:
        say(json.dumps({"version": 1, **answer, "keys": states, "warnings": plan.warnings}))
    else:
        registration.show(plan, answer, states)
    return ExitCode.DONE
