"""Carry connections, variables, pools and users from the stack without Docker to a new one with it."""

from __future__ import annotations

from typing import Any

from scripts import embedded_places as places
from scripts import registration, settings
from scripts.compose import ComposeStack
from scripts.console import progress, say
from scripts.containers import volume_exists
from scripts.embedded import EmbeddedStack
from scripts.errors import ExitCode, KitError
from scripts.one_at_a_time import one_at_a_time

KINDS = ("connections", "pools", "variables")


def run() -> int:
    """Read all of it, start the new stack, write it there, read it back."""
    chosen = settings.load()
    old, new = EmbeddedStack(chosen), ComposeStack(chosen)
    with one_at_a_time("make move-to-compose"):
        check(chosen)
        plan, trouble = registration.read_plan_if_there(new, ask=True)
        if trouble:
            raise trouble
        progress("reading connections, variables, pools and users")
        carried = need(old.run_script("carry", {"do": "export"}, place="database"))
        old.stop()
        if plan:
            new.place_platforms(plan)
        new.start()
        people = take_over(new, carried)
        if plan:
            registration.register(new, plan)
            new.unlock(plan)
    counts = [f"{len(carried[kind])} {kind}" for kind in KINDS]
    say(f"carried {', '.join(counts)} and {len(people)} users to {new.address()}")
    say("runs and their logs were not carried; the old ones stay in .windrose/embedded until you delete that folder")
    return ExitCode.DONE


def check(chosen: settings.Settings) -> None:
    """Refuse where there is nothing to carry, or somewhere else to carry it to."""
    if not places.DATABASE.exists():
        raise KitError("make move-to-compose", "there is no stack without Docker here to move", "run `make up`")
    if chosen["RUNTIME"] == "embedded":
        raise KitError(".env", "RUNTIME=embedded would start the old stack again", "delete that line first")
    volume = f"{chosen.project}_database"
    if volume_exists(volume) and settings.arguments()["CONFIRM"] != "yes":
        problem = (
            f"there is a stack with Docker already, and what has the same name there would be overwritten ({volume})"
        )
        raise KitError("make move-to-compose", problem, "run it with CONFIRM=yes if that is meant")


def take_over(new: ComposeStack, carried: dict[str, Any]) -> list[str]:
    """Write what was carried, and return the users' names."""
    wanted = {kind: carried[kind] for kind in KINDS}
    adopted = [name for kind in KINDS for name in carried[kind]]
    answer = need(new.run_script("register", {**wanted, "adopt": adopted, "mode": "carry"}, place="database"))
    if answer.get("refused") or answer["unverified"]:
        names = ", ".join(answer.get("refused") or answer["unverified"])
        raise KitError("Airflow", f"did not take over {names}", "run the same command again with CONFIRM=yes")
    asked = {"do": "users", "users": carried["users"], "roles": carried["roles"]}
    return sorted(need(new.run_script("carry", asked, place="database"))["users"])


def need(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is none of failure."""
    if "failed" in answer:
        raise KitError("Airflow", f"could not do it ({answer['failed']})", "see `make status`, then run it again")
    return answer
