"""A site to be asked: real servers in this process, for the tests that run beside Airflow."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncssh

PASSWORD = "correct horse"
FORWARD = """
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 4096):
        there.sendall(data)
threading.Thread(target=up, daemon=True).start()
while data := there.recv(4096):
    os.write(1, data)
"""


class Site:
    """A site with an SSH server, something that is none, and something that never answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.rsa_key = asyncssh.generate_private_key("ssh-rsa")
        self.authority = asyncssh.generate_private_key("ssh-ed25519")
        self.key = self.new_key("key")
        authorized = f"{public(self.key)}\ncert-authority {public(self.authority)}\n"
        (folder / "authorized").write_text(authorized)
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / ".bash_profile").write_text('PATH="$HOME/bin:$PATH"\nexport SITE_SCRATCH="$HOME"\n')
        self.logins = self.at_once = self.most_at_once = 0
        self.ports: dict[str, int] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.in_loop(self.open())

    def in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def new_key(self, name: str, *, phrase: str | None = None) -> asyncssh.SSHKey:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.folder / name, passphrase=phrase)
        return key

    def new_certificate(self, name: str, *, after: float, before: float) -> str:
        key = self.new_key(name)
        certificate = self.authority.generate_user_certificate(
            key, "maija", valid_after=int(after), valid_before=int(before), principals=["maija"]
        )
        certificate.write_certificate(self.folder / f"{name}-cert.pub")
        return str(self.folder / name)

    async def open(self) -> None:
        options = {
            "authorized_client_keys": str(self.folder / "authorized"),
            "process_factory": self.run_command,
            "sftp_factory": True,
        }
        ssh = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: Door(self), server_host_keys=[self.host_key, self.rsa_key], **options
        )
        web = await asyncio.start_server(answer_as_web, "127.0.0.1", 0)
        silent = await asyncio.start_server(answer_nothing, "127.0.0.1", 0)
        self.ports = {
            "ssh": ssh.get_port(),
            "web": web.sockets[0].getsockname()[1],
            "silent": silent.sockets[0].getsockname()[1],
        }

    async def run_command(self, process: asyncssh.SSHServerProcess[str]) -> None:
        """Run it as sshd would, with a greeting before, as sites like to have one."""
        started = await asyncio.create_subprocess_shell(
            process.command or "exit 1", stdin=-3, stdout=-1, stderr=-1, env={**os.environ, "HOME": str(self.home)}
        )
        output, complaints = await started.communicate()
        process.stdout.write(f"Welcome!\n{output.decode()}")
        process.stderr.write(complaints.decode())
        process.exit(started.returncode or 0)


class Door(asyncssh.SSHServer):
    """Counts who comes, and who is inside; somebody may still be leaving when the next test begins."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.site.logins += 1
        self.site.at_once += 1
        self.site.most_at_once = max(self.site.most_at_once, self.site.at_once)

    def connection_lost(self, exc: Exception | None) -> None:
        self.site.at_once -= 1

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == PASSWORD


async def answer_as_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
