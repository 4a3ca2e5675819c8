"""`make engine`: install and start Docker Engine, Compose and Buildx."""

from __future__ import annotations

import os
import shutil

from scripts import apt, apt_sources, engine_packages, process
from scripts.console import progress, say
from scripts.engine_check import JOIN_GROUP, EngineState, check_engine
from scripts.engine_packages import ASKED, Package, Plan
from scripts.engine_start import start_engine
from scripts.errors import ExitCode, KitError
from scripts.settings import arguments, environment

APT_GET = ("apt-get", "--quiet=2", "--option", "DPkg::Lock::Timeout=120")


def run() -> int:
    """Do nothing where an engine answers, say what would be done, or do it."""
    state = check_engine()
    if not state.missing:
        say(f"Docker Engine {state.engine} answers, with Compose {state.compose} and Buildx {state.buildx}")
        return ExitCode.DONE
    if state.refusal:
        raise KitError("docker", state.refusal, JOIN_GROUP)
    plan = None if is_installed(state) else make_plan()
    if arguments()["CONFIRM"] != "yes":
        describe(state, plan)
        return ExitCode.USAGE
    if os.geteuid() != 0:
        raise KitError("make engine", "needs root to install packages", "run `sudo make engine CONFIRM=yes`")
    if plan is not None:
        install()
    if not check_engine().engine:
        start_engine(lambda: bool(check_engine().engine))
    state = check_engine()
    if state.missing:
        raise KitError("make engine", "; ".join(state.missing), "see what `docker info` says, and mend that")
    say(f"Docker Engine {state.engine} answers, with Compose {state.compose} and Buildx {state.buildx}")
    return ExitCode.DONE


def is_installed(state: EngineState) -> bool:
    """Say whether everything is there and the engine only has to be started."""
    with_engine = EngineState(state.engine or "here", state.compose, state.buildx)
    return shutil.which("dockerd") is not None and not with_engine.missing


def describe(state: EngineState, plan: Plan | None) -> None:
    """Print what CONFIRM=yes would do."""
    progress(f"make engine: {'; '.join(state.missing)}. CONFIRM=yes would:")
    if plan is not None and plan.suite:
        say(f"add      {plan.suite} from this machine's own mirror, pinned at 100: nothing else is taken from it")
    if plan is not None:
        say(f"install  {' '.join(plan.packages)}")
        say(f"from     {plan.origin}")
    if not state.engine:
        say("start    the engine")


def make_plan() -> Plan:
    """Ask apt what it offers, and choose."""
    system = engine_packages.system_of(apt.os_release())
    known = dict.fromkeys(ASKED, Package("", ""))
    if shutil.which("apt-cache"):
        answer = process.run(["apt-cache", "policy", *ASKED], environment=environment({"LC_ALL": "C"}), check=False)
        known.update(engine_packages.parse_policy(answer.stdout))
    return engine_packages.choose_packages(system, known)


def install() -> None:
    """Refresh apt's lists, choose again with what they say, and install."""
    progress("refreshing the package lists")
    apt_get("update")
    plan = make_plan()
    if plan.suite:
        add_suite(plan.suite)
    progress(f"installing {', '.join(plan.packages)}")
    apt_get("install", "--yes", "--no-install-recommends", *plan.packages)


def add_suite(suite: str) -> None:
    """Add a suite from the mirror this machine already uses, unless it is there."""
    sources = apt_sources.read_sources()
    if not any(suite in source.suites for source in sources):
        codename = engine_packages.system_of(apt.os_release()).codename
        base = apt_sources.find_distribution(sources, codename)
        if base is None:
            fix = f"add {codename} main there, then run `make engine CONFIRM=yes`"
            raise KitError(str(apt_sources.APT), f"names no mirror with the suite {codename}", fix)
        for path in apt_sources.write_suite(base, suite):
            progress(f"wrote {path}")
    apt_get("update")


def apt_get(*words: str) -> None:
    """Run apt-get without questions; on failure show its last lines."""
    lines: list[str] = []
    quiet = environment({"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C"})
    code = process.stream([*APT_GET, *words], on_line=lines.append, environment=quiet)
    if code != 0:
        problems = [line for line in lines if line.startswith(("E:", "W:", "dpkg: error"))] or lines
        for line in problems[-10:]:
            progress(f"  {line[:300]}")
        raise KitError(f"apt-get {words[0]}", f"ended with code {code}", "mend what it says above, then run it again")
