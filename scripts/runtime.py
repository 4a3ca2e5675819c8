"""Where does Airflow run on this machine?"""

from __future__ import annotations

from scripts.compose import ComposeStack
from scripts.runtime_interface import Runtime
from scripts.settings import Settings


def choose(settings: Settings) -> Runtime:
    """Return the runtime of this machine."""
    return ComposeStack(settings)
