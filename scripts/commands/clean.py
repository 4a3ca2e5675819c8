"""Delete the stack with everything it remembers."""

from __future__ import annotations

import shutil

from scripts import demo, generated_files, generated_secrets, runtime, settings
from scripts.console import say
from scripts.errors import ExitCode

LOST = (
    "the database: every run, connection, variable and user",
    "logs/: every task log",
    "secrets/: the keys that decrypt the database and its backups",
)


def run() -> int:
    """Name what is lost; with CONFIRM=yes, delete it."""
    stack = runtime.choose(settings.load())
    if settings.arguments()["CONFIRM"] != "yes":
        say("This deletes, for good:")
        for line in (*LOST, stack.lost):
            say(f"  - {line}")
        say("Kept: dags/, plugins/, config/, data/, .env. Type `make clean CONFIRM=yes` to go on.")
        return ExitCode.USAGE
    stack.clean()
    for folder in (settings.ROOT / "logs", generated_secrets.FOLDER, generated_files.FOLDER, demo.FOLDER):
        if folder.exists():
            shutil.rmtree(folder)
    say("deleted; `make up` begins anew")
    return ExitCode.DONE
