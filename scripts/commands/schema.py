"""Write the schema of secrets.yaml, with which an editor completes and checks while one types."""

from __future__ import annotations

import json

from scripts import settings
from scripts.console import say
from scripts.errors import ExitCode
from scripts.platforms.models import SecretsFile

FILE = settings.STATE / "secrets.schema.json"


def run() -> int:
    """Write it and say how an editor finds it."""
    FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    FILE.write_text(json.dumps(SecretsFile.model_json_schema(), indent=2) + "\n", encoding="utf-8")
    shown = FILE.relative_to(settings.ROOT)
    say(f"wrote {shown}; an editor with YAML support takes it from the first line of secrets.yaml")
    return ExitCode.DONE
