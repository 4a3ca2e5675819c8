"""The stack in containers: the only module that starts Docker Compose."""

from __future__ import annotations

import os
from collections.abc import Mapping

from scripts import generated_files, generated_secrets, images, limits, preflight, process
from scripts.compose_start import Start
from scripts.console import progress
from scripts.containers import (
    Container,
    Engine,
    last_lines,
    last_probe,
    list_containers,
    memory_in_use,
    network_subnet,
    volume_exists,
)
from scripts.errors import KitError
from scripts.process import Completed
from scripts.runtime_interface import Service
from scripts.settings import ROOT, Settings, environment

UID_WHEN_ROOT = 50000  # the uid the official Airflow image has
SHARED_FOLDERS = ("logs", "data")
OVERRIDES = ("docker-compose.override.yaml", "docker-compose.override.yml")
SUBNET_FILE = "config/docker-compose.subnet.yaml"
CELERY_ONLY = ("airflow-worker", "valkey")  # in this order: a worker does not stop without its broker


class ComposeStack:
    """Windrose on a Docker Engine."""

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; ask nothing yet."""
        self.settings = settings
        self.uid = os.getuid() or UID_WHEN_ROOT

    def start(self) -> None:
        """Check, make what is missing, start, and wait until everything is healthy."""
        engine = preflight.check(self.settings, self.uid)
        values = self.prepare(engine)
        start = Start(self.settings.project, self.environment(values))
        if self.has_other_networks():
            progress("SUBNET has changed: stopping once, because networks cannot change while they are in use")
            self.compose("down", "--remove-orphans")
        elif start.is_done():
            progress("everything is running and unchanged")
            return
        start.run()
        if not self.settings.uses_celery:
            self.remove_services(CELERY_ONLY)
        images.remove_outdated([tag for name, tag in values.items() if name.endswith("_IMAGE")])

    def prepare(self, engine: Engine) -> dict[str, str]:
        """Make secrets, files and images; return the values that docker-compose.yaml asks for."""
        share = limits.compute(self.settings, memory_mb=engine.memory_mb, cores=engine.cores)
        generated_secrets.ensure(uid=self.uid, database_exists=volume_exists(f"{self.settings.project}_database"))
        self.share_folders()
        fingerprint = generated_files.write(self.settings, share, self.uid)
        tags = images.ensure(self.settings, self.uid)
        return {
            "WINDROSE_UID": str(self.uid),
            "WINDROSE_CONFIG": fingerprint,
            "WINDROSE_BROKER": generated_secrets.fingerprint("broker_password"),
            "WINDROSE_AIRFLOWIGNORE": str(generated_files.SHOWN_DAGS),
            "WINDROSE_WORKERS": self.settings["WORKERS"],
            "WINDROSE_SHARED_BUFFERS": f"{share.memory['postgres'] // 4}MB",
            **{f"WINDROSE_{name.upper()}_IMAGE": tag for name, tag in tags.items()},
            **{f"WINDROSE_MEMORY_{name.upper()}": f"{size}m" for name, size in share.memory.items()},
        }

    def share_folders(self) -> None:
        """Make the folders that containers write to, theirs to write: Docker would make them as root."""
        for name in SHARED_FOLDERS:
            folder = ROOT / name
            folder.mkdir(exist_ok=True)
            if os.geteuid() == 0 and folder.stat().st_uid != self.uid:
                process.run(["chown", "--recursive", f"{self.uid}:0", str(folder)])
            elif folder.stat().st_uid != self.uid:
                fix = f"sudo chown -R {self.uid} {name}"
                raise KitError(name, f"belongs to uid {folder.stat().st_uid}, not to you", f"run `{fix}`")

    def environment(self, values: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment for Compose: settings as .env and the caller say, and what was computed."""
        profiles = [*filter(None, [self.settings.passed_on.get("COMPOSE_PROFILES")])]
        if self.settings.uses_celery:
            profiles.append("celery")
        shown = ("AIRFLOW_PORT", "ADMIN_USER", "LOG_DAYS", "LOG_SIZE_MB")
        return environment(
            {
                **self.settings.passed_on,
                **{key: self.settings[key] for key in shown},
                "COMPOSE_PROFILES": ",".join(profiles),
                **self.compose_files(),
                "COMPOSE_PROJECT_NAME": self.settings.project,
                **{f"WINDROSE_SUBNET_{name}": subnet for name, subnet in self.settings.subnets.items()},
                **(values or {}),
            }
        )

    def compose_files(self) -> dict[str, str]:
        """Return COMPOSE_FILE where Compose's own choice (the file and its override) is not enough."""
        if not self.settings["SUBNET"]:
            return {}
        named = self.settings.passed_on.get("COMPOSE_FILE", "").split(":")
        usual = ["docker-compose.yaml", *(name for name in OVERRIDES if (ROOT / name).exists())]
        return {"COMPOSE_FILE": ":".join([*(list(filter(None, named)) or usual), SUBNET_FILE])}

    def has_other_networks(self) -> bool:
        """Say whether the networks are not where SUBNET wants them; Compose itself does not look."""
        for name, subnet in self.settings.subnets.items():
            present = network_subnet(f"{self.settings.project}_{name.lower()}")
            if present not in ("", subnet):
                return True
        return False

    def stop(self) -> None:
        """Stop and remove the containers; database, logs and secrets stay."""
        preflight.check_docker()
        self.compose("down", "--remove-orphans")

    def restart(self, service: str) -> None:
        """Restart a service, or all, and wait until it is healthy again."""
        preflight.check_docker()
        running = [container.service for container in self.containers() if container.health != "done"]
        if not running:
            raise KitError("stack", "is not running", "run `make up`")
        if service and service not in running:
            raise KitError("SERVICE", f"{service} is not running", f"take one of {', '.join(running)}")
        chosen = [service] if service else running
        progress(f"restarting {', '.join(chosen)}")
        self.compose("restart", "--no-deps", *chosen)
        Start(self.settings.project, self.environment()).wait(lambda: True)

    def build(self) -> None:
        """Build the images whose inputs have changed."""
        preflight.check_docker()
        for name, tag in images.ensure(self.settings, self.uid).items():
            progress(f"{name}: {tag}")

    def clean(self) -> None:
        """Remove containers, volumes, networks and our images of this clone."""
        preflight.check_docker()
        volume = f"{self.settings.project}_database"
        if volume_exists(volume) and not generated_secrets.FOLDER.exists():
            raise KitError(
                "make clean",
                f"this clone has no secrets/, so the volume {volume} may be another clone's",
                f"delete it by hand if it is not: docker volume rm {volume}",
            )
        used = {container.image for container in self.containers()}
        self.compose("down", "--volumes", "--remove-orphans")
        for image in used:
            process.run(["docker", "image", "rm", image], check=False)

    def services(self) -> list[Service]:
        """Return each container as a row."""
        preflight.check_docker()
        containers = [container for container in self.containers() if container.health != "done"]
        memory = memory_in_use(containers)
        return [
            Service(c.name, c.health, c.since, memory.get(c.id, ""), c.image.rsplit(":", 1)[-1]) for c in containers
        ]

    def why_unwell(self, name: str) -> str:
        """Return what the health check of a service said last, else the service itself."""
        container = next(container for container in self.containers() if container.name == name)
        return last_probe(container) or "".join(last_lines(container, 1))

    def follow_logs(self, service: str, *, lines: int, follow: bool) -> int:
        """Show what the services say, as `docker compose logs` does."""
        preflight.check_docker()
        known = sorted({container.service for container in self.containers()})
        if service and service not in known:
            fix = f"take one of {', '.join(known)}" if known else "run `make up`"
            raise KitError("SERVICE", f"{service} is not running", fix)
        options = [f"--tail={lines}", *(["--follow"] if follow else [])]
        argv = ["docker", "compose", "--profile=*", "logs", *options, *([service] if service else [])]
        return process.interactive(argv, environment=self.environment(), folder=ROOT)

    def shell(self) -> int:
        """Open a shell in a container of its own, so that nothing typed there can hurt a service."""
        engine = preflight.check_docker()
        self.need_running()
        argv = ["docker", "compose", "--profile=cli", "run", "--rm", "--no-deps", "airflow-cli", "bash"]
        return process.interactive(argv, environment=self.environment(self.prepare(engine)), folder=ROOT)

    def airflow(self, arguments: list[str], *, stdin: str | None = None) -> Completed:
        """Run an Airflow command in the DAG processor, which has the database and the Fernet key."""
        self.need_running()
        argv = ["docker", "compose", "exec", "--no-TTY", "airflow-dag-processor", "airflow", *arguments]
        return process.run(argv, stdin=stdin, environment=self.environment(), folder=ROOT, check=False)

    def query(self, sql: str) -> list[list[str]]:
        """Ask the database through its own container, where no password is needed."""
        argv = ["docker", "compose", "exec", "--no-TTY", "postgres", "psql", "--host=/var/run/postgresql"]
        argv += [
            "--username=airflow",
            "--no-align",
            "--tuples-only",
            "--field-separator=\x1f",
            "--record-separator=\x1e",
        ]
        done = process.run([*argv, f"--command={sql}"], environment=self.environment(), folder=ROOT)
        return [row.split("\x1f") for row in done.stdout.strip("\n").split("\x1e") if row]

    def containers(self) -> list[Container]:
        """Return the stack's containers."""
        return list_containers(self.settings.project)

    def need_running(self) -> None:
        """Stop with a sentence where nothing runs."""
        if not any(container.state == "running" for container in self.containers()):
            raise KitError("stack", "is not running", "run `make up`")

    def remove_services(self, names: tuple[str, ...]) -> None:
        """Remove services that the settings no longer ask for."""
        present = {container.service for container in self.containers()}
        for name in names:
            if name in present:
                progress(f"removing {name}: EXECUTOR=local needs it no longer")
                self.compose("rm", "--stop", "--force", name)

    def compose(self, *arguments: str) -> Completed:
        """Run a Compose command over all services, whatever profile they are of."""
        argv = ["docker", "compose", "--profile=*", *arguments]
        return process.run(argv, environment=self.environment(), folder=ROOT)
