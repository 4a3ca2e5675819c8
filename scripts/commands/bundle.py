"""Write everything that a machine without a network needs into one file."""

from __future__ import annotations

from scripts import bundle_make, bundle_wheels, runtime, settings
from scripts.bundle_manifest import FORMS
from scripts.console import progress, say
from scripts.errors import ExitCode, UsageError
from scripts.one_at_a_time import one_at_a_time


def run() -> int:
    """Make the bundle, and say how it is used."""
    chosen = settings.load()
    form = choose_form(settings.arguments()["FOR"] or chosen["RUNTIME"])
    python = bundle_wheels.choose_python(settings.arguments()["PYTHON_VERSION"])
    with one_at_a_time("make bundle"):
        target, fingerprint = bundle_make.make(chosen, form, python)
    say(f"wrote {target.name}, {target.stat().st_size / 1000**2:.0f} MB, fingerprint {fingerprint}")
    progress("on the other machine:")
    progress(f"  tar -xf {target.name} windrose")
    progress(f"  cd windrose && make load BUNDLE=../{target.name} && make up")
    return ExitCode.DONE


def choose_form(given: str) -> str:
    """Return the runtime that the bundle is for: FOR, else RUNTIME, else the one of this machine."""
    if given not in ("auto", *FORMS):
        raise UsageError("FOR", f"{given} is no runtime", "take FOR=compose or FOR=embedded")
    if given in FORMS:
        return given
    return "embedded" if runtime.why_no_engine() else "compose"
