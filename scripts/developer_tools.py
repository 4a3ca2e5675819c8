"""Are the tools of `make test` and `make lint` here, at the pinned versions?"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts import process, settings
from scripts.console import progress
from scripts.errors import KitError
from scripts.package_index import index_environment, without_password
from scripts.settings import ROOT

REQUIREMENTS = ROOT / "tests" / "requirements.txt"
BIN = Path(sys.executable).parent
STAMP = BIN.parent / "tools-ready"


def ensure_tools() -> None:
    """Install tests/requirements.txt beside what the commands need, where it is missing or has changed."""
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    progress("installing the test tools into .venv")
    argv = [str(tool("uv")), "pip", "install", "--quiet", "--python", sys.executable, f"--requirement={REQUIREMENTS}"]
    with index_environment(settings.load()) as known:
        done = process.run(argv, environment=known, check=False)
    if done.code != 0:
        for line in done.stderr.strip().splitlines()[-10:]:
            progress(f"  {without_password(line)[:300]}")
        raise KitError("uv", "could not install the test tools", "mend what it says above, then run it again")
    STAMP.write_text(wanted, encoding="utf-8")


def tool(name: str) -> Path:
    """Return where a tool lies in `.venv`."""
    return BIN / name


def pinned(name: str) -> str:
    """Return the line that pins a tool: `pytest==9.0`."""
    found = re.search(rf"^{re.escape(name)}==\S+", REQUIREMENTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if found is None:
        raise KitError(str(REQUIREMENTS.relative_to(ROOT)), f"does not pin {name}", f"add a line {name}==VERSION")
    return found[0]
