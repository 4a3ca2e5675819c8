"""What a person writes into secrets.yaml, and what it leads to: for tests of platforms on a real stack."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import yaml

from tests.engine_support import Done, Json, Stack
from tests.ssh_support import USER, Server

HOME = [".bash_logout", ".bashrc", ".hidden", ".profile", "results.csv"]
LOGGED_IN_BY = ("ssh", "sftp", "wait")


@dataclass
class PlatformFile:
    """The file secrets.yaml of a stack."""

    stack: Stack
    content: Json = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.stack.folder / "secrets.yaml"

    def start_over(self) -> None:
        """Forget what the file said."""
        self.content = {}

    def key(self, name: str, file: Path | None = None, **more: str) -> None:
        """Add a key, by default one without a passphrase, or a password login."""
        found = {"path": f"/run/secrets/{name}", "file": str(file)} if file else {}
        if file and not any(field.startswith("phrase") for field in more):
            found["phrase"] = "empty"
        self.content.setdefault("connections", {}).setdefault("ssh", {})[name] = {**found, **more}

    def platform(self, name: str, address: str, key: str, **more: object) -> None:
        """Add an SSH platform of the type hpc."""
        fields = {"address": address, "user": USER, "type": "ssh", "key": key, **more}
        self.content.setdefault("platforms", {}).setdefault("hpc", {})[name] = fields

    def server(self, name: str, server: Server, key: str, **more: object) -> None:
        """Add an SSH platform whose host key is known."""
        self.platform(name, server.name, key, host_key=server.host_key(), **more)

    def save(self) -> str:
        """Write the file, as its owner's alone; return its text."""
        text = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True)
        self.path.touch(mode=0o600)
        self.path.write_text(text, encoding="utf-8")
        return text

    def register(self) -> Done:
        """Write the file and run `make connections`, which must succeed."""
        self.save()
        done = self.stack.make("connections")
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def remove(self) -> None:
        """Delete the file and the pins; what was registered stays until another file says otherwise."""
        self.path.unlink(missing_ok=True)
        (self.stack.folder / "secrets" / "known_hosts").unlink(missing_ok=True)


def connections(stack: Stack) -> dict[str, Json]:
    """Return what the API says of each connection, `extra` read."""
    found = stack.api("GET", "connections?limit=100&order_by=connection_id")["connections"]
    return {one["connection_id"]: {**one, "extra": json.loads(one["extra"] or "{}")} for one in found}


def log_in(stack: Stack, *ids: str) -> dict[str, Json]:
    """Use connections in all three ways at once; return connection -> way -> what it answered, else its state."""
    runs = {name: stack.trigger("own-platforms", connection=name) for name in ids}
    for path in runs.values():
        stack.result(path, within=150)
    return {name: {way: answer_of(stack, path, way) for way in LOGGED_IN_BY} for name, path in runs.items()}


def answer_of(stack: Stack, path: str, task: str) -> object:
    """Return what a task returned, or its state and its last log."""
    known = stack.tasks(path)[task]
    if known["state"] == "success":
        return stack.returned(path, task)
    return f"{known['state']}: {stack.log(path, task, known['try_number'])}"


def welcome(server: str) -> Json:
    """Return what all three ways answer when they reach a server."""
    return {"ssh": USER, "sftp": HOME, "wait": server}


def lines_with(text: str, *words: str) -> list[str]:
    """Return the lines that hold all of these words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]


@dataclass
class Watcher:
    """Remembers the argument list of every process of this machine, containers' processes too."""

    seen: set[bytes] = field(default_factory=set)
    stop: Event = field(default_factory=Event)

    def look(self) -> None:
        """Look again and again, until told to stop."""
        while not self.stop.wait(0.02):
            self.seen.update(read_each(Path("/proc").glob("[0-9]*/cmdline")))


def read_each(paths: Iterable[Path]) -> Iterator[bytes]:
    """Read files that may be gone by now."""
    for path in paths:
        try:
            yield path.read_bytes()
        except OSError:
            continue


@contextmanager
def watched_processes() -> Iterator[Watcher]:
    """Watch the processes of this machine meanwhile."""
    watcher = Watcher()
    thread = Thread(target=watcher.look)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.stop.set()
        thread.join()
