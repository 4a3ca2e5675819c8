"""Bring the stack up: check, build, migrate, start, wait, register; any step may be killed and repeated."""

from __future__ import annotations

import time

from scripts import demo, registration, runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode
from scripts.one_at_a_time import one_at_a_time
from scripts.platforms.plan import Plan
from scripts.runtime_interface import Runtime


def run() -> int:
    """Start everything, register what secrets.yaml describes, and say where Airflow is."""
    chosen = settings.load()
    began = time.monotonic()
    with one_at_a_time("make up"):
        choice = runtime.decide(chosen)
        stack = choice.stack
        if choice.reason:
            progress(f"running {choice.reason}")
        if demo.is_wanted():
            demo.prepare()  # its certificate begins another year
        plan, trouble = registration.read_plan_if_there(stack, ask=True)
        if plan:
            stack.place_platforms(plan)
        stack.start()
        progress(f"healthy after {time.monotonic() - began:.0f} s")
        if plan:
            register(stack, plan)
    say(f"Airflow   {stack.address()}")
    say(f"User      {chosen['ADMIN_USER']}   (password: make credentials)")
    if trouble:
        progress("Airflow is up, but secrets.yaml was not registered; what was registered before still is:")
        raise trouble
    say(f"Next      {next_step(plan)}")
    return ExitCode.DONE


def register(stack: Runtime, plan: Plan) -> None:
    """Register and open the keys; say what has changed and what is still to do."""
    answer = registration.register(stack, plan)
    states = stack.unlock(plan)
    for line in [*registration.done(answer), *registration.to_do(plan, states)]:
        progress(line)


def next_step(plan: Plan | None) -> str:
    """Say what a person does next."""
    if plan is None:
        return "cp secrets.example.yaml secrets.yaml, describe your machines, then make connections"
    return "put a DAG into a folder of dags/; it shows up within seconds"
