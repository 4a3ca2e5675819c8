"""Find the command, run it, print its error: the only place that exits."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from scripts.console import progress
from scripts.errors import ExitCode, KitError, UsageError


def command_names() -> list[str]:
    """Return the commands there are: one a module."""
    return sorted(path.stem for path in (Path(__file__).parent / "commands").glob("*.py") if path.stem != "__init__")


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        if len(arguments) != 1 or arguments[0] not in command_names():
            raise UsageError(
                "python -m scripts", f"takes one of {', '.join(command_names())}", "run `make` for the list"
            )
        command = importlib.import_module(f"scripts.commands.{arguments[0]}")
        return int(command.run())
    except KitError as error:
        progress(str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        progress("stopped; run the same command again to go on")
        return 130


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BrokenPipeError:
        code = int(ExitCode.PROBLEM)
    sys.exit(code)
