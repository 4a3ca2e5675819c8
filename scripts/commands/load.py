"""Take up a bundle on a machine without a network; runs on the machine's own Python, before there is a `.venv`."""

from __future__ import annotations

from pathlib import Path

from scripts import bundle_file, bundle_load
from scripts.console import progress, say
from scripts.engine_check import check_engine
from scripts.errors import ExitCode, UsageError
from scripts.one_at_a_time import one_at_a_time
from scripts.settings import arguments


def run() -> int:
    """Check everything, then load; nothing is changed where something is wrong."""
    given = arguments()["BUNDLE"]
    if not given:
        raise UsageError("make load", "needs the bundle", "write `make load BUNDLE=../windrose-....tar`")
    with one_at_a_time("make load"):
        bundle = bundle_file.open_bundle(Path(given).expanduser())
        bundle_load.check_machine(bundle)
        places = bundle_file.check_all(bundle)
        progress(f"every sum is right; fingerprint {bundle.fingerprint}")
        bundle_load.load(bundle, places)
    if bundle.manifest.form == "embedded" and not check_engine().missing:
        progress("this is for running without Docker, which answers here: write RUNTIME=embedded into .env")
    say(f"loaded {bundle.path.name}; `make up` needs no network now")
    return ExitCode.DONE
