"""The stack in containers: the only module that starts Docker Compose."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from scripts import (
    compose_demo,
    compose_jobs,
    compose_keys,
    demo,
    generated_files,
    generated_secrets,
    images,
    limits,
    preflight,
    process,
)
from scripts.compose_start import Start
from scripts.console import progress
from scripts.containers import (
    Container,
    Engine,
    last_lines,
    last_probe,
    list_containers,
    memory_in_use,
    mounted_folders,
    network_subnet,
    volume_exists,
    volume_options,
)
from scripts.errors import CommandFailed, KitError
from scripts.platforms import ssh_files
from scripts.platforms.plan import Key, Plan
from scripts.platforms.secrets_file import SECRETS_FILE
from scripts.process import Completed
from scripts.runtime_interface import Place, Service
from scripts.settings import ROOT, Settings, environment

UID_WHEN_ROOT = 50000  # the uid the official Airflow image has
SHARED_FOLDERS = ("logs", "data")
OVERRIDES = ("docker-compose.override.yaml", "docker-compose.override.yml")
SUBNET_FILE = "config/docker-compose.subnet.yaml"
CELERY_ONLY = ("airflow-worker", "valkey")  # in this order: a worker does not stop without its broker


class ComposeStack:
    """Windrose on a Docker Engine."""

    name = "compose"
    lost = "the images built here"
    ssh_home = ssh_files.HOME

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; ask nothing yet."""
        self.settings = settings
        self.uid = os.getuid() or UID_WHEN_ROOT

    def address(self) -> str:
        """Return where the web page is."""
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        """Check, make what is missing, start, and wait until everything is healthy."""
        engine = preflight.check(self.settings, self.uid)
        values = self.prepare(engine)
        start = Start(self.settings.project, self.environment(values))
        if self.has_other_networks():
            progress("SUBNET has changed: stopping once, because networks cannot change while they are in use")
            self.down()
        elif self.has_others_keys():
            progress("another user of this machine runs make now: stopping once, because the keys are one's own")
            self.down()
            volumes = [f"{self.settings.project}_{name}" for name in ("keys", "docker-proxy")]
            process.run(["docker", "volume", "rm", "--force", *volumes])
        elif start.is_done():
            progress("everything is running and unchanged")
            self.join_demo()
            return
        start.run()
        self.join_demo()
        if not self.settings.uses_celery:
            self.remove_services(CELERY_ONLY)
        if not self.settings.runs_containers:
            self.remove_services(compose_jobs.SERVICES)
        images.remove_outdated([tag for name, tag in values.items() if name.endswith("_IMAGE")])

    def prepare(self, engine: Engine) -> dict[str, str]:
        """Make secrets, files and images; return the values that docker-compose.yaml asks for."""
        share = limits.compute(self.settings, memory_mb=engine.memory_mb, cores=engine.cores)
        generated_secrets.ensure(uid=self.uid, database_exists=volume_exists(f"{self.settings.project}_database"))
        self.share_folders()
        fingerprint = generated_files.write(self.settings, share, self.uid)
        compose_keys.ensure(SECRETS_FILE, self.uid)
        jobs = compose_jobs.prepare(self.settings, engine)
        tags = images.ensure(self.settings, self.uid)
        return {
            **jobs,
            **compose_demo.values(self.settings),
            "WINDROSE_UID": str(self.uid),
            "WINDROSE_PERSON": str(os.getuid()),
            "WINDROSE_CONFIG": fingerprint,
            "WINDROSE_BROKER": generated_secrets.fingerprint("broker_password"),
            "WINDROSE_AIRFLOWIGNORE": str(generated_files.SHOWN_DAGS),
            "WINDROSE_WORKERS": self.settings["WORKERS"],
            "WINDROSE_SHARED_BUFFERS": f"{share.memory['postgres'] // 4}MB",
            **{f"WINDROSE_{name.upper().replace('-', '_')}_IMAGE": tag for name, tag in tags.items()},
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
        if self.settings.runs_containers:
            profiles.append(compose_jobs.PROFILE)
        shown = ("AIRFLOW_PORT", "ADMIN_USER", "LOG_DAYS", "LOG_SIZE_MB", "JOB_IMAGES", "JOB_MOUNTS", "JOB_NFS")
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
        added = [SUBNET_FILE] if self.settings["SUBNET"] else []
        overlays = (compose_keys.OVERLAY, compose_jobs.OVERLAY)
        added += [str(overlay.relative_to(ROOT)) for overlay in overlays if overlay.exists()]
        added += [str(compose_demo.FILE)] if demo.is_wanted() else []
        if not added:
            return {}
        named = self.settings.passed_on.get("COMPOSE_FILE", "").split(":")
        usual = ["docker-compose.yaml", *(name for name in OVERRIDES if (ROOT / name).exists())]
        return {"COMPOSE_FILE": ":".join([*(list(filter(None, named)) or usual), *added])}

    def has_other_networks(self) -> bool:
        """Say whether the networks are not where SUBNET wants them; Compose itself does not look."""
        for name, subnet in self.settings.subnets.items():
            present = network_subnet(f"{self.settings.project}_{name.lower()}")
            if present not in ("", subnet):
                return True
        return False

    def has_others_keys(self) -> bool:
        """Say whether the memory for keys was made for another user, who alone can write to it."""
        options = volume_options(f"{self.settings.project}_keys")
        return bool(options) and f"uid={os.getuid()}," not in options

    def stop(self) -> None:
        """Stop and remove the containers; database, logs and secrets stay."""
        preflight.check_docker()
        self.down()

    def down(self, *options: str) -> None:
        """Remove the containers; what a killed proxy left of jobs would keep their network in use."""
        if compose_jobs.containers(self.settings.project):
            self.compose("stop")
            compose_jobs.remove_containers(self.settings.project)
        self.compose("down", "--remove-orphans", *options)

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
        Start(self.settings.project, self.environment()).wait(lambda: 0)

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
        self.down("--volumes")
        compose_jobs.remove_volumes(self.settings.project)
        for image in used:
            process.run(["docker", "image", "rm", image], check=False)
        images.BUILT.unlink(missing_ok=True)

    def services(self) -> list[Service]:
        """Return each container as a row."""
        preflight.check_docker()
        containers = [container for container in self.containers() if container.health != "done"]
        memory = memory_in_use(containers)
        return [
            Service(c.name, c.health, c.since, memory.get(c.id, ""), c.image.rsplit(":", 1)[-1]) for c in containers
        ]

    def has_database(self) -> bool:
        """Say whether the database answers."""
        return any(container.service == "postgres" and container.health == "healthy" for container in self.containers())

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
        return self.compose(
            "exec", "--no-TTY", "airflow-dag-processor", "airflow", *arguments, stdin=stdin, check=False
        )

    def run_script(self, name: str, request: object, *, place: Place) -> dict[str, Any]:
        """Run a program of the image with a request on its stdin; a stack that is down comes up as far as needed."""
        preflight.check_docker()
        service = {"database": "airflow-dag-processor", "tasks": self.task_service}[place]
        command = ["python", f"/opt/windrose/{name}.py"]
        if service in self.running():
            done = self.compose("exec", "--no-TTY", service, *command, stdin=json.dumps(request), check=False)
        elif place == "database" and not self.running():
            done = self.run_beside_database(command, json.dumps(request))
        else:
            raise KitError("stack", f"{service} is not running", "run `make up`")
        answer = done.stdout.strip().rpartition("\n")[2]
        if done.code != 0 or not answer:
            raise self.script_failure(name, service, done)
        return dict(json.loads(answer))

    def run_beside_database(self, command: list[str], stdin: str) -> Completed:
        """Start no more than the database, run a command, and stop again."""
        values = self.prepare(preflight.check(self.settings, self.uid))
        argv = ["docker", "compose", "--profile=cli", "run", "--rm", "--no-TTY", "airflow-cli", *command]
        try:
            return process.run(argv, stdin=stdin, environment=self.environment(values), folder=ROOT, check=False)
        finally:
            self.stop()

    def script_failure(self, name: str, service: str, done: Completed) -> KitError:
        """Say why a program of the image gave no answer; its own words may hold a secret and stay out."""
        if "can't open file" in done.stderr:
            return KitError("stack", "is of another release than this folder", "run `make up`")
        if service not in self.running():
            return KitError("stack", f"{service} stopped in the middle", "run `make up`, then the same command again")
        return CommandFailed([name], done.code, f"gave no answer (code {done.code})")

    @property
    def task_service(self) -> str:
        """The service in which tasks run."""
        return "airflow-worker" if self.settings.uses_celery else "airflow-scheduler"

    def running(self) -> list[str]:
        """Return the services that run now."""
        return [container.service for container in self.containers() if container.state == "running"]

    def place_platforms(self, plan: Plan) -> None:
        """Write down which keys are kept and whom ssh knows: the next start, or `refresh_keys`, takes it up."""
        compose_keys.write(plan, SECRETS_FILE, self.uid)

    def refresh_keys(self) -> None:
        """Let the running keys service see folders that are new to it; no other service is touched."""
        running = [c for c in self.containers() if c.service == "keys" and c.state == "running"]
        if running and compose_keys.folders() != mounted_folders(running[0], compose_keys.HOST):
            values = self.prepare(preflight.check_docker())
            argv = ["docker", "compose", "up", "--detach", "--no-deps", "--no-build", "--wait", "keys"]
            process.run(argv, environment=self.environment(values), folder=ROOT)

    def unlock(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Tell the keys service the passphrases; return the state of each key."""
        if "keys" not in self.running():
            return {}
        words = ["exec", "--no-TTY", "keys", "python", "-IS", "/opt/windrose/keys.py", "unlock"]
        return compose_keys.states_in(self.compose(*words, stdin=json.dumps(compose_keys.phrases(plan.keys))).stdout)

    def key_states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each key, {} where the keys service does not run."""
        if "keys" not in self.running():
            return {}
        words = ["exec", "--no-TTY", "keys", "python", "-IS", "/opt/windrose/keys.py", "state"]
        return compose_keys.states_in(self.compose(*words, check=False).stdout)

    def key_path(self, key: Key) -> str:
        """Return where tasks find a key."""
        return f"{compose_keys.INSIDE}/{key.target}"

    def start_demo(self) -> tuple[str, int, str]:
        """Start the demo cluster; no other service is touched."""
        values = self.prepare(preflight.check_docker())
        argv = ["docker", "compose", "up", "--detach", "--no-deps", "--no-build", "--wait", demo.NAME]
        process.run(argv, environment=self.environment(values), folder=ROOT)
        self.join_demo()
        return demo.NAME, compose_demo.PORT, compose_demo.host_key(self.settings.project)

    def join_demo(self) -> None:
        """Let the services reach it in which tasks and triggers run, where there is one."""
        if demo.is_wanted():
            compose_demo.join(self.settings.project, (self.task_service, "airflow-triggerer"))

    def stop_demo(self) -> None:
        """Remove the demo cluster with all it holds; no other service is touched."""
        compose_demo.remove(self.settings.project)

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
                progress(f"removing {name}: the settings need it no longer")
                self.compose("rm", "--stop", "--force", name)

    def compose(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Completed:
        """Run a Compose command over all services, whatever profile they are of."""
        argv = ["docker", "compose", "--profile=*", *arguments]
        return process.run(argv, stdin=stdin, environment=self.environment(), folder=ROOT, check=check)
