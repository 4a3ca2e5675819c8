"""Places to copy from and to that keep files: the stack's data/, and platforms over SSH."""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from windrose.transfer import PASSING, File, Place, Reader, TransferError, home, passing_name

if TYPE_CHECKING:
    from airflow.providers.ssh.hooks.ssh import SSHHook
    from paramiko import SFTPAttributes, SFTPClient, SSHClient

REQUESTS = 64  # of 32 KB each, on their way at a time
SECONDS = 30


class LocalPlace:
    """A folder of this machine, and nothing outside it."""

    keeps_times = True

    def __init__(self, root: Path) -> None:
        """Take what lies below a folder."""
        self.root = root.resolve()

    def inside(self, path: str) -> Path:
        """Return the path on disk; refuse one that leads out of the folder, by `..` or by a link."""
        # As tasks call the folder, as the clone calls it, or from there on.
        below = re.sub(r"^(/opt/airflow/data|/?data)(/|$)|^/", "", path)
        found = (self.root / below).resolve()
        if not found.is_relative_to(self.root):
            raise TransferError(f"{path} leads out of data/; name a path below it.")
        return found

    def find(self, path: str) -> File | None:
        """Return a file, None where there is none."""
        place = self.inside(path)
        return describe(path, place.stat()) if place.is_file() else None

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        return self.inside(path).is_dir()

    def walk(self, path: str) -> Iterator[File]:
        """Yield all files of a folder; links and what is still growing are left out."""
        top = self.inside(path)
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                place = Path(folder, name)
                found = place.lstat()
                if stat.S_ISREG(found.st_mode) and not PASSING.fullmatch(name):
                    yield describe(place.relative_to(top).as_posix(), found)

    @contextmanager
    def open(self, path: str, offset: int, size: int) -> Iterator[Reader]:
        """Read a file from an offset."""
        with self.inside(path).open("rb") as file:
            file.seek(offset)
            yield file

    def writer(self, path: str, source: File) -> LocalWriter:
        """Take a file, or the rest of it."""
        return LocalWriter(self.inside(path), source)

    def checksum(self, path: str) -> str | None:
        """Return the SHA-256 of a file."""
        with self.inside(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def another(self) -> LocalPlace:
        """Return the same place: nothing is shared here."""
        return LocalPlace(self.root)

    def close(self) -> None:
        """There is nothing to close."""


class LocalWriter:
    """A file that grows below data/."""

    def __init__(self, path: Path, source: File) -> None:
        """Open what has arrived before, or begin."""
        self.path, self.source = path, source
        self.part = Path(passing_name(str(path), source))
        if path.is_dir():
            raise TransferError(f"{path.name} is a folder at the target; name another path.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.part.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise TransferError(f"{path.name} is being copied by another run; wait for its end.") from None
        self.offset = self.file.seek(0, os.SEEK_END)
        if self.offset > source.size:
            self.file.truncate(0)
            self.offset = 0
        self.kept = self.offset

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.file.write(data)

    def checksum(self) -> str | None:
        """Return the SHA-256 of what has arrived."""
        self.file.flush()
        arrived = self.part.stat().st_size
        if arrived != self.source.size:
            raise TransferError(f"{self.path.name}: {arrived} of {self.source.size} bytes arrived; run it again.")
        with self.part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def finish(self) -> None:
        """Give it its real name, the time of its source, and whether it may be run."""
        self.file.close()
        self.part.chmod(self.source.mode & 0o755 | 0o600)
        os.utime(self.part, (self.source.modified, self.source.modified))
        self.part.replace(self.path)

    def discard(self) -> None:
        """Delete what has arrived."""
        self.part.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        self.file.close()


class SshPlace:
    """A platform, over SFTP; relative paths begin where a login arrives."""

    keeps_times = True

    def __init__(self, hook: SSHHook, *, has_shell: bool = True) -> None:
        """Take an SSHHook; has_shell says whether commands run there, for checksums."""
        # Compressing takes longer than sending, and most data is compressed already.
        hook.compress = False
        self.hook, self.has_shell = hook, has_shell
        self.connection: SSHClient | None = None
        self.opened: SFTPClient | None = None

    @property
    def client(self) -> SSHClient:
        """Return the connection, opened when it is first needed."""
        if self.connection is None:
            self.connection = self.hook.get_conn()
        return self.connection

    @property
    def files(self) -> SFTPClient:
        """Return the SFTP session, opened when it is first needed."""
        if self.opened is None:
            self.opened = self.client.open_sftp()
            self.opened.get_channel().settimeout(SECONDS * 10)
        return self.opened

    def find(self, path: str) -> File | None:
        """Return a file, None where there is none."""
        found = self.stat(path)
        return describe(path, found) if found is not None and stat.S_ISREG(found.st_mode) else None

    def stat(self, path: str) -> SFTPAttributes | None:
        """Return what is known of a path, None where there is nothing."""
        try:
            return self.files.stat(home(path))
        except FileNotFoundError:
            return None

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        found = self.stat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def walk(self, path: str, below: str = "") -> Iterator[File]:
        """Yield all files of a folder; links and what is still growing are left out."""
        folders = []
        for found in self.entries(posixpath.join(home(path), below)):
            if "/" in found.filename or found.filename in (".", ".."):
                raise TransferError(f"the server shows a file named {found.filename!r}; that would lead elsewhere.")
            inner = posixpath.join(below, found.filename)
            if stat.S_ISDIR(found.st_mode):
                folders.append(inner)
            elif stat.S_ISREG(found.st_mode) and not PASSING.fullmatch(found.filename):
                yield describe(inner, found)
        for folder in folders:
            yield from self.walk(path, folder)

    def entries(self, folder: str) -> Iterator[SFTPAttributes]:
        """Yield what a folder holds."""
        try:
            yield from self.files.listdir_iter(folder)
        except PermissionError:
            raise TransferError(f"{folder}: the platform does not let you list this folder.") from None

    @contextmanager
    def open(self, path: str, offset: int, size: int) -> Iterator[Reader]:
        """Read a file from an offset, asking ahead for a bounded piece of it."""
        with self.files.open(home(path), "rb") as file:
            file.seek(offset)
            file.prefetch(size, max_concurrent_requests=REQUESTS)
            yield file

    def writer(self, path: str, source: File) -> SshWriter:
        """Take a file, or the rest of it."""
        return SshWriter(self, home(path), source)

    def checksum(self, path: str) -> str | None:
        """Let the platform compute the SHA-256 of a file."""
        if not self.has_shell:
            return None
        command = f"sha256sum < {shlex.quote(home(path))} || shasum -a 256 < {shlex.quote(home(path))}"
        _, said, _ = self.client.exec_command(command)
        found = re.findall(r"\b[0-9a-f]{64}\b", said.read().decode(errors="replace"))
        return str(found[-1]) if found else None

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        if path in ("", "/") or self.is_folder(path):
            return
        self.make_folder(posixpath.dirname(path))
        # Another stream may have been faster.
        with suppress(OSError):
            self.files.mkdir(path)

    def another(self) -> SshPlace:
        """Return the same platform over a connection of its own."""
        from copy import copy

        hook = copy(self.hook)
        hook.client = None
        # The way over a jump host is kept there, too; two connections cannot share it.
        hook.__dict__.pop("host_proxy", None)
        return SshPlace(hook, has_shell=self.has_shell)

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()


class SshWriter:
    """A file that grows on a platform."""

    def __init__(self, place: SshPlace, path: str, source: File) -> None:
        """Open what has arrived before, or begin."""
        if place.is_folder(path):
            raise TransferError(f"{path} is a folder at the target; end the path with a slash to copy into it.")
        self.place, self.path, self.source = place, path, source
        self.part = passing_name(path, source)
        place.make_folder(posixpath.dirname(path))
        there = place.stat(self.part)
        self.offset = there.st_size if there is not None and there.st_size <= source.size else 0
        self.file = place.files.open(self.part, "r+b" if self.offset else "wb")
        self.file.seek(self.offset)
        self.kept = self.offset
        # Do not wait for an answer to each piece.
        self.file.set_pipelined(True)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.file.write(data)

    def checksum(self) -> str | None:
        """Let the platform compute the SHA-256 of what has arrived."""
        self.file.close()
        arrived = self.place.files.stat(self.part).st_size
        if arrived != self.source.size:
            raise TransferError(f"{self.path}: only {arrived} of {self.source.size} bytes arrived; is the disk full?")
        return self.place.checksum(self.part)

    def finish(self) -> None:
        """Give it its real name, the time of its source, and whether it may be run."""
        files = self.place.files
        files.chmod(self.part, self.source.mode & 0o755 | 0o600)
        files.utime(self.part, (int(self.source.modified), int(self.source.modified)))
        try:
            files.posix_rename(self.part, self.path)
        except OSError:
            # A server without that extension renames only to a name that is free.
            with suppress(OSError):
                files.remove(self.path)
            files.rename(self.part, self.path)

    def discard(self) -> None:
        """Delete what has arrived."""
        with suppress(OSError):
            self.place.files.remove(self.part)

    def close(self) -> None:
        """Let go of it; the connection may be gone by now."""
        with suppress(Exception):
            self.file.close()


def describe(path: str, found: os.stat_result | SFTPAttributes) -> File:
    """Return a file from what a file system knows of it."""
    return File(path, int(found.st_size), float(found.st_mtime), stat.S_IMODE(found.st_mode))


def place_of(platform: str, *, checksums: bool = True) -> Place:
    """Return the place that a form names: a platform's id, or '' for data/ of the stack; to be called in a task."""
    if not platform:
        from windrose.data_folder import data_folder

        return LocalPlace(data_folder())
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = Connection.get(platform)
    except AirflowNotFoundException:
        raise TransferError(f"there is no platform {platform}; see secrets.yaml and `make connections`.") from None
    if connection.conn_type == "aws":
        from windrose.transfer_s3 import s3_place

        return s3_place(platform, connection.extra_dejson)
    if connection.conn_type == "firecrest":
        from windrose.transfer_firecrest import firecrest_place

        return firecrest_place(connection, checksums=checksums)
    if connection.conn_type not in ("ssh", "sftp"):
        kinds = "ssh, sftp, s3 and firecrest"
        raise TransferError(f"{platform} is of type {connection.conn_type}; files are copied over {kinds}.")
    from airflow.providers.ssh.hooks.ssh import SSHHook

    hook = SSHHook(ssh_conn_id=platform, conn_timeout=SECONDS)
    return SshPlace(hook, has_shell=checksums and connection.conn_type == "ssh")
