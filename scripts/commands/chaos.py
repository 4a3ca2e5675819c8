"""`make chaos`: fifty Slurm jobs on a stack of its own, and everything between them and their tasks killed in turn."""

from __future__ import annotations

import sys

from scripts.commands.test import test_environment
from scripts.console import say
from scripts.developer_tools import ensure_tools
from scripts.engine_check import check_engine
from scripts.errors import ExitCode, KitError
from scripts.process import stream
from scripts.settings import ROOT


def run() -> int:
    """Run it beside whatever runs, under a project name of its own."""
    missing = check_engine().missing
    if missing:
        raise KitError("make chaos", f"needs an engine: {', '.join(missing)}", "run `make engine`")
    ensure_tools()
    argv = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "-s", "-q", "tests/chaos"]
    code = stream(argv, on_line=say, environment=test_environment(), folder=ROOT)
    return ExitCode.DONE if code == 0 else ExitCode.PROBLEM
