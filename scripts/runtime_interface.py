"""What every runtime can do: commands know this, and never ask which runtime it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from scripts.platforms.plan import Key, Plan
from scripts.process import Completed

Place = Literal["database", "tasks"]


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

    @property
    def name(self) -> str:
        """What RUNTIME calls it."""

    @property
    def lost(self) -> str:
        """What `clean` deletes beside database, logs and secrets, in words."""

    @property
    def ssh_home(self) -> str:
        """The folder that tasks have as ~/.ssh, by the path that they see."""

    def address(self) -> str:
        """Return where the web page is."""

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

    def has_database(self) -> bool:
        """Say whether the database can be asked now."""

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

    def run_script(self, name: str, request: object, *, place: Place) -> dict[str, Any]:
        """Run a program of scripts/in_airflow/ beside the database, or where tasks run; return its JSON answer."""

    def place_platforms(self, plan: Plan) -> None:
        """Write down which keys are kept and whom ssh knows: the next start, or `refresh_keys`, takes it up."""

    def refresh_keys(self) -> None:
        """Let what keeps the keys see folders that are new to it."""

    def unlock(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Hand over the passphrases; return the state of each key by its target."""

    def key_states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each key by its target, {} while nothing keeps them."""

    def key_path(self, key: Key) -> str:
        """Return where tasks find a key."""

    def need_running(self) -> object:
        """Stop with a sentence where nothing runs."""

    def start_demo(self) -> tuple[str, int, str]:
        """Start the demo cluster; return the address, the port and the host key that tasks reach it by."""

    def stop_demo(self) -> None:
        """Remove the demo cluster with all it holds."""
