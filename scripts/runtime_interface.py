"""What every runtime can do: commands know this, and never ask which runtime it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from scripts.process import Completed


@dataclass(frozen=True, slots=True)
class Service:
    """One part of the running stack, as `make status` shows it."""

    name: str
    health: str
    since: str
    memory: str
    version: str


class Runtime(Protocol):
    """What every runtime can do."""

    def start(self) -> None:
        """Bring everything up and return when it is healthy; tell each step."""

    def stop(self) -> None:
        """Stop everything; lose nothing."""

    def restart(self, service: str) -> None:
        """Restart one service, or all with '', and wait until healthy."""

    def build(self) -> None:
        """Make what the start needs, without starting."""

    def clean(self) -> None:
        """Delete everything that `start` made on this machine beside the clone."""

    def services(self) -> list[Service]:
        """Return what runs, [] when nothing does."""

    def why_unwell(self, name: str) -> str:
        """Return in a line what is wrong with a service, as far as it says."""

    def follow_logs(self, service: str, *, lines: int, follow: bool) -> int:
        """Show logs on the terminal; return the exit code."""

    def shell(self) -> int:
        """Open a shell that has the airflow command."""

    def airflow(self, arguments: list[str], *, stdin: str | None = None) -> Completed:
        """Run an Airflow command beside the stack."""

    def query(self, sql: str) -> list[list[str]]:
        """Ask Airflow's database; return rows of text."""
