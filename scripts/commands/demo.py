"""Start the demo cluster beside the stack and register it; with DOWN=yes, end it."""

from __future__ import annotations

import shutil
from contextlib import suppress

from scripts import demo, registration, runtime, settings
from scripts.console import progress, say
from scripts.errors import ExitCode, KitError, UsageError
from scripts.one_at_a_time import one_at_a_time
from scripts.platforms.plan import EMPTY, Plan
from scripts.runtime_interface import Runtime

NEXT = ("make trigger DAG=tutorial-interaction WAIT=1", "make trigger DAG=hpc-run-one-job WAIT=1")


def run() -> int:
    """Do it, whatever an earlier, killed run has left."""
    down = settings.arguments()["DOWN"]
    if down not in ("", "yes", "no"):
        raise UsageError("DOWN", "is yes or nothing", "run `make demo DOWN=yes`")
    stack = runtime.choose(settings.load())
    with one_at_a_time("make demo"):
        return end(stack) if down == "yes" else start(stack)


def start(stack: Runtime) -> int:
    """Start the cluster, register it, and say what to do with it."""
    stack.need_running()
    # A mistake in it would come out late, after the cluster has started.
    registration.read_secrets_file(stack, ask=False)
    was_there = demo.PLATFORMS.exists()
    demo.prepare()
    progress("starting the demo cluster")
    try:
        demo.write_platforms(*stack.start_demo())
        plan = registration.read_plan(stack)
        answer = registration.register(stack, plan)
    except KitError:
        if not was_there:
            # All or nothing; `make up` would try the same again, too.
            with suppress(KitError):
                stack.stop_demo()
            demo.forget()
            shutil.rmtree(demo.FOLDER, ignore_errors=True)
        raise
    tell(stack, plan, answer)
    names = [platform.id for platform in demo.platforms_of(plan)]
    for name in sorted(demo.IDS.keys() - set(names)):
        say(f"{name}: secrets.yaml names it, so it stays as that says")
    say(f"the demo cluster is ready as {' and '.join(names)}" if names else "the demo cluster runs, under no name")
    say(f"Next      {', or '.join(NEXT)}")
    return ExitCode.DONE


def end(stack: Runtime) -> int:
    """Take the cluster's connections out of Airflow, then remove it with all it holds."""
    if not demo.FOLDER.exists():
        say("there is no demo cluster here")
        return ExitCode.DONE
    demo.forget()
    plan = registration.read_secrets_file(stack)
    tell(stack, plan, registration.register(stack, plan) if plan is not EMPTY else registration.remove_demo(stack))
    stack.stop_demo()
    shutil.rmtree(demo.FOLDER)
    say("the demo cluster is gone, with its jobs and files; `make demo` begins a new one")
    return ExitCode.DONE


def tell(stack: Runtime, plan: Plan, answer: registration.Answer) -> None:
    """Bring the keys up to date, and say what has changed."""
    stack.place_platforms(plan)
    stack.refresh_keys()
    states = stack.unlock(plan)
    for line in [*registration.done(answer), *registration.to_do(plan, states)]:
        progress(line)
