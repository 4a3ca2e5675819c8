"""Real SSH servers for tests: containers beside a stack, with keys, certificates and passwords of their own."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine_support import ROOT, eventually, run

FOLDER = ROOT / "tests" / "ssh_server"
LABEL = "windrose-test.ssh-servers"  # its value: the project that the servers stand beside
USER = "researcher"
READY = "Server listening on"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"  # the last one that a server makes


def ensure_image() -> str:
    """Return the image of the server, built if one of its files has changed."""
    digest = hashlib.sha256()
    for path in sorted(path for path in FOLDER.iterdir() if path.is_file()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    tag = f"windrose-test/ssh-server:{digest.hexdigest()[:12]}"
    if run("docker", "image", "inspect", tag, check=False).returncode:
        run("docker", "buildx", "build", "--load", f"--tag={tag}", str(FOLDER), timeout=300)
    return tag


def remove_servers(project: str) -> None:
    """Remove the servers and networks that stand beside a project, and nothing else."""
    own = f"--filter=label={LABEL}={project}"
    containers = run("docker", "ps", "--all", "--quiet", own).stdout.split()
    if containers:
        run("docker", "rm", "--force", "--volumes", *containers)
    networks = run("docker", "network", "ls", "--quiet", own).stdout.split()
    if networks:
        run("docker", "network", "rm", *networks)


@dataclass(frozen=True)
class Server:
    """One machine to log in to."""

    name: str
    id: str
    folder: Path  # who may log in: mounted as /etc/ssh/login

    def exec(self, *argv: str, stdin: str | None = None) -> str:
        """Run a program on the server as root."""
        return run("docker", "exec", "--interactive", self.id, *argv, stdin=stdin).stdout

    def log(self) -> str:
        """Return all that sshd ever said."""
        done = run("docker", "logs", self.id)
        return done.stdout + done.stderr

    def ways_tried(self) -> set[str]:
        """Return the ways by which clients tried to log in; "none" only asks which ways there are."""
        return set(re.findall(r"userauth-request for user \S+ service ssh-connection method ([a-z]+)", self.log()))

    def host_key(self, kind: str = "ed25519") -> str:
        """Return the type and the key by which the server is known."""
        return " ".join(self.exec("cat", f"/etc/ssh/ssh_host_{kind}_key.pub").split()[:2])

    def fingerprint(self, kind: str = "ed25519") -> str:
        """Return the fingerprint of a host key, as OpenSSH shows it."""
        return self.exec("ssh-keygen", "-lf", f"/etc/ssh/ssh_host_{kind}_key.pub").split()[1]

    def change_host_keys(self) -> None:
        """Come back as a machine that was installed again."""
        self.exec("sh", "-c", "rm /etc/ssh/ssh_host_*")
        starts = self.log().count(READY)
        run("docker", "restart", "--time=1", self.id)
        eventually(lambda: self.log().count(READY) > starts, within=60, pause=0.1)

    def admit(self, *public_keys: Path) -> None:
        """Let the owners of these keys in, and nobody else."""
        keys = "".join(path.read_text(encoding="utf-8") for path in public_keys)
        (self.folder / "authorized_keys").write_text(keys, encoding="utf-8")

    def trust(self, authority: Path) -> None:
        """Let everyone in whom an authority has signed a certificate for; needs a restart."""
        (self.folder / "user_ca.pub").write_bytes(authority.read_bytes())


@dataclass
class Servers:
    """The servers beside one stack; each is started when it is first asked for."""

    project: str
    folder: Path
    image: str = field(default_factory=ensure_image)
    running: dict[str, Server] = field(default_factory=dict)

    @property
    def front(self) -> str:
        """The network of the stack where tasks run."""
        return f"{self.project}_front"

    def start(
        self,
        name: str,
        *how: str,
        keys: tuple[Path, ...] = (),
        authority: Path | None = None,
        password: str = "",
        alias: str = "",
        network: str = "",
    ) -> Server:
        """Start a server that is reached by its name (and an alias), and return when it listens.

        One that is told how to behave may never listen: it has its host keys by then.
        """
        if name in self.running:
            return self.running[name]
        folder = self.folder / name
        folder.mkdir(parents=True)
        server = Server(name, "", folder)
        server.admit(*keys)
        if authority:
            server.trust(authority)
        options = [f"--name={self.project}-{name}", f"--hostname={name}", f"--label={LABEL}={self.project}"]
        options += [f"--network={network or self.front}", f"--network-alias={name}"]
        options += [f"--network-alias={alias}"] if alias else []
        options += [f"--volume={folder}:/etc/ssh/login:ro", "--memory=256m"]
        server = Server(name, run("docker", "run", "--detach", *options, self.image, *how).stdout.strip(), folder)
        if how:  # it does not say that it listens, if it ever does
            has_keys = ("docker", "exec", server.id, "test", "-s", HOST_KEY)
            eventually(lambda: run(*has_keys, check=False).returncode == 0, within=60, pause=0.1)
        else:
            eventually(lambda: READY in server.log(), within=60, pause=0.1)
        if password:
            server.exec("chpasswd", "--crypt-method=SHA512", stdin=f"{USER}:{password}\n")
        self.running[name] = server
        return server

    def start_behind(self, gate: Server, name: str, *, keys: tuple[Path, ...]) -> Server:
        """Start a server that nobody but another server can reach."""
        network = f"{self.project}-behind-{gate.name}"
        run("docker", "network", "create", "--internal", f"--label={LABEL}={self.project}", network)
        run("docker", "network", "connect", network, gate.id)
        return self.start(name, keys=keys, network=network)


@contextmanager
def ssh_servers(project: str, folder: Path) -> Iterator[Servers]:
    """Hand out servers beside a stack; remove them and what an earlier, killed run left."""
    remove_servers(project)
    try:
        yield Servers(project, folder)
    finally:
        remove_servers(project)


@dataclass(frozen=True)
class KeyMaker:
    """Makes keys and certificates in a folder, with the server's own ssh-keygen: this machine may have none."""

    folder: Path
    image: str

    def keygen(self, *arguments: str) -> None:
        """Run ssh-keygen in the folder; what it makes is this user's to change and the stack's to read."""
        script = f'cd /keys && ssh-keygen -q "$@" && chown -R {os.getuid()} . && chmod -R u=rwX,go= .'
        options = ["--rm", "--network=none", f"--volume={self.folder}:/keys", "--entrypoint=sh"]
        run("docker", "run", *options, self.image, "-c", script, "sh", *arguments)

    def make(self, name: str, *, phrase: str = "") -> Path:
        """Make a key, and return its file; the public one lies beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        if not path.exists():
            self.keygen("-t", "ed25519", "-N", phrase, "-C", name, "-f", name)
        return path

    def sign(self, key: Path, authority: Path, *, valid: str) -> None:
        """Put a certificate beside a key, as renewing tools do: written aside, renamed over the old one."""
        # ssh-keygen names the certificate by the public key it is given.
        (self.folder / "fresh.pub").write_bytes(public(key).read_bytes())
        self.keygen("-s", authority.name, "-I", "test", "-n", USER, "-V", valid, "fresh.pub")
        (self.folder / "fresh-cert.pub").replace(certificate(key))


def public(key: Path) -> Path:
    """Return the file of a key's public half."""
    return key.with_name(f"{key.name}.pub")


def certificate(key: Path) -> Path:
    """Return the file of the certificate beside a key."""
    return key.with_name(f"{key.name}-cert.pub")
