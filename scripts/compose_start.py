"""Starting the containers and telling how it goes, one line a service."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from scripts import process
from scripts.console import progress
from scripts.containers import Container, last_lines, list_containers
from scripts.errors import KitError
from scripts.settings import ROOT

PATIENCE = 300  # seconds until everything must be healthy
READY = ("healthy", "done")
# What a service's last words mean, and how to mend it.
MENDS = (
    (r"No space left on device|no space left", "the disk is full", "free some space (`docker system df`)"),
    (
        r"password authentication failed",
        "the database does not take the password",
        "put back secrets/database_password",
    ),
    (r"Pool overlaps|could not find an available.*pool", "networks collide", "set SUBNET in .env"),
    (r"Permission denied|PermissionError", "a file cannot be read or written", "check the owner of logs/ and data/"),
    (r"port is already allocated|address already in use", "the port is taken", "set AIRFLOW_PORT in .env"),
)


class Start:
    """One `docker compose up`, watched."""

    def __init__(self, project: str, environment: dict[str, str]) -> None:
        """Remember which project and with which values."""
        self.project = project
        self.environment = environment
        self.output: list[str] = []
        self.told: dict[str, str] = {}
        self.wanted: dict[str, str] = {}

    def is_done(self) -> bool:
        """Say whether every wanted service is running, healthy, and made from just this configuration."""
        done = process.run(["docker", "compose", "config", "--hash=*"], environment=self.environment, folder=ROOT)
        self.wanted = dict(line.split() for line in done.stdout.splitlines())
        present = list_containers(self.project)
        found = {c.service: c.config_hash for c in present if c.health in READY}
        return found == self.wanted and all(c.health in READY for c in present)

    def run(self) -> None:
        """Start everything and wait."""
        self.remove_failed()
        if self.attempt():
            return
        # An engine that is asked to replace many containers at once loses a race now and then, and not twice.
        progress(f"  docker compose up gave up ({self.output[-1].strip() if self.output else 'no reason'}); once more")
        if not self.attempt():
            raise self.explain("\n".join(self.output[-15:]), "docker compose up")

    def attempt(self) -> bool:
        """Start everything and wait; return False where Compose gave up though no service has failed."""
        codes: list[int] = []
        self.output.clear()
        argv = ["docker", "compose", "up", "--detach", "--no-build", "--remove-orphans", "--quiet-pull"]

        def compose_up() -> None:
            codes.append(process.stream(argv, on_line=self.output.append, environment=self.environment, folder=ROOT))

        thread = threading.Thread(target=compose_up, daemon=True)
        thread.start()
        return self.wait(lambda: codes[0] if codes else None)

    def remove_failed(self) -> None:
        """Remove what an earlier start left unwell: Compose would keep it as it is."""
        for container in list_containers(self.project):
            if is_failed(container):
                process.run(["docker", "rm", "--force", container.id], check=False)

    def wait(self, exit_code: Callable[[], int | None]) -> bool:
        """Return whether Compose ended well, when everything is healthy; stop at the first service that has failed."""
        end = time.monotonic() + PATIENCE
        while True:
            code = exit_code()
            containers = list_containers(self.project)
            for container in containers:
                self.tell(container)
            failed = [c for c in containers if is_failed(c) and self.is_current(c)]
            if failed:
                raise self.failure(failed[0])
            if code:
                return False  # what Compose did not get to start will never be healthy
            if code == 0 and all(container.health in READY for container in containers):
                return True
            if time.monotonic() > end:
                late = next((c for c in containers if c.health not in READY), None)
                raise self.failure(late) if late else self.explain("", "docker compose up")
            time.sleep(0.4)

    def is_current(self, container: Container) -> bool:
        """Say whether a container is of this start: Compose replaces older ones one by one."""
        return self.wanted.get(container.service, container.config_hash) == container.config_hash

    def tell(self, container: Container) -> None:
        """Print a line when a service has become ready."""
        if container.health in READY and self.told.get(container.id) != container.health:
            progress(f"  {container.name}: {container.health}")
        self.told[container.id] = container.health

    def failure(self, container: Container) -> KitError:
        """Show a service's last words, and return what they mean."""
        lines = last_lines(container, 15)
        for line in lines:
            progress(f"  {container.service} | {line}")
        return self.explain("\n".join(lines), container.service, f"is {container.health} ({container.status})")

    def explain(self, text: str, where: str, problem: str = "failed") -> KitError:
        """Return the likely mend for what was said."""
        said = re.search(r"windrose: (.+?); (.+?)\.?$", text, flags=re.MULTILINE)
        if said:
            return KitError(where, said[1], said[2])
        for pattern, meaning, mend in MENDS:
            if re.search(pattern, text, flags=re.IGNORECASE):
                return KitError(where, meaning, f"{mend}, then run `make up` again")
        if where == "docker compose up":
            for line in text.splitlines():
                progress(f"  {line}")
            return KitError(where, problem, "see the lines above, then run `make up` again")
        return KitError(where, problem, f"see `make logs SERVICE={where}`, then run `make up` again")


def is_failed(container: Container) -> bool:
    """Say whether a service will not get well by waiting."""
    if container.state in ("restarting", "dead"):
        return True
    return container.state == "exited" and container.exit_code != 0 or container.health == "unhealthy"
