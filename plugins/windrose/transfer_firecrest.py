"""A platform behind FirecREST as a place to copy from and to: small files at once, larger ones through its store.

The server renames by a batch job only, so a file is written under its real name; one that did not arrive whole is
deleted, and has another size if even that fails, so that the next copy replaces it.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import stat
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from windrose.slurm.firecrest_access import access_of
from windrose.slurm.firecrest_client import Api, Failed, NotThere
from windrose.slurm.firecrest_files import Files
from windrose.slurm.firecrest_jobs import ENDED, Row, state_of
from windrose.slurm.model import ClusterError
from windrose.transfer import PASSING, File, Mismatch, Reader, TransferError, home

SMALL = 1024 * 1024  # the client sends what is larger through the store
INLINE = 3 * SMALL  # servers take 5 MB in one request by default, and need no batch job for that
SUMMED = 512 * 1024 * 1024  # a server gives a checksum five seconds; larger files are compared by their size
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # between two looks at a transfer, which is a batch job
LONGEST = 6 * 3600.0  # seconds for a transfer, waiting for its node included
STORED = 300.0  # seconds without a byte from the store
Result = TypeVar("Result")


def firecrest_place(connection: Any, *, system: str = "", checksums: bool = True) -> FirecrestPlace:  # noqa: ANN401 - Airflow's connection, or None
    """Return the platform behind a connection; what it does not say is read in the task's own environment."""
    facts = {} if connection is None else connection.extra_dejson.get("windrose", {})
    try:
        return FirecrestPlace(connection, account=str(facts.get("account", "")), system=system, checksums=checksums)
    except ClusterError as error:
        raise TransferError(str(error)) from None


class FirecrestPlace:
    """A platform over FirecREST; relative paths begin where a login arrives."""

    keeps_times = False

    def __init__(self, connection: Any, *, account: str = "", system: str = "", checksums: bool = True) -> None:  # noqa: ANN401 - Airflow's connection, or None
        """Take who we are there, and the account that pays for transfers; nothing is sent yet."""
        self.connection, self.account, self.system, self.checksums = connection, account, system, checksums
        self.access = access_of(connection, system=system)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.files = self.run(self.begin())

    async def begin(self) -> Files:
        """Make the client in the loop that it is used in."""
        return Files(Api(self.access))

    def run(self, work: Awaitable[Result]) -> Result:
        """Do something in the place's own loop; what goes wrong is told in a sentence."""

        async def together() -> Result:
            return await work

        try:
            return asyncio.run_coroutine_threadsafe(together(), self.loop).result()
        except (NotThere, TransferError):
            raise
        except ClusterError as error:
            raise TransferError(str(error)) from None

    def whole(self, path: str) -> str:
        """Return a path from the root."""
        below = home(path)
        return self.run(self.files.absolute("" if below == "." else below))

    def stat(self, path: str) -> dict[str, Any] | None:
        """Return what is known of a path, None where there is nothing."""
        whole, client, system = self.whole(path), self.files.api.client, self.files.system
        try:
            found: dict[str, Any] = self.run(self.files.api.ask(lambda: client.stat(system, whole, dereference=True)))
        except NotThere:
            return None
        return found

    def find(self, path: str) -> File | None:
        """Return a file, None where there is none."""
        found = self.stat(path)
        if found is None or not stat.S_ISREG(found["mode"]):
            return None
        return File(path, int(found["size"]), float(found["mtime"]), stat.S_IMODE(found["mode"]))

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        found = self.stat(path)
        return found is not None and stat.S_ISDIR(found["mode"])

    def walk(self, path: str, below: str = "") -> Iterator[File]:
        """Yield all files of a folder; links and what is still growing are left out."""
        folders = []
        for name, found in sorted(self.run(self.files.listed(self.whole(posixpath.join(path, below)))).items()):
            if "/" in name or name in (".", ".."):
                raise TransferError(f"the server shows a file named {name!r}; that would lead elsewhere.")
            inner = posixpath.join(below, name)
            if found.kind == "d":
                folders.append(inner)
            elif found.kind == "-" and not PASSING.fullmatch(name):
                # A listing tells the time by the clock on the wall there.
                known = self.find(posixpath.join(path, inner))
                if known is not None:
                    yield File(inner, known.size, known.modified, known.mode)
        for folder in folders:
            yield from self.walk(path, folder)

    @contextmanager
    def open(self, path: str, offset: int, size: int) -> Iterator[Reader]:
        """Read a file from an offset; it is fetched as a whole first."""
        whole = self.whole(path)
        with tempfile.TemporaryDirectory(prefix="windrose-") as folder:
            kept = Path(folder, "file")
            self.run(self.fetch(whole, kept, size))
            with kept.open("rb") as file:
                file.seek(offset)
                yield file

    async def fetch(self, path: str, kept: Path, size: int) -> None:
        """Bring a file here."""
        client, system = self.files.api.client, self.files.system
        if size <= INLINE and await self.at_once(lambda: self.get(path, kept), size):
            return
        method = await self.method()
        transfer = await self.files.api.ask(
            lambda: client.download(
                system, path, kept, account=self.account or None, blocking=False, transfer_method=method
            )
        )
        if transfer is None:
            return
        if method == "streamer":
            await self.stream(transfer.wait_for_streamer_job_to_listen, transfer.download_file_streamer)
            return
        await self.finished(transfer.transfer_data)
        await self.stored(transfer.download_file_from_stage)

    async def send(self, path: str, kept: Path, size: int) -> None:
        """Bring a file there."""
        client, system = self.files.api.client, self.files.system
        folder, name = posixpath.split(path)
        if size <= INLINE and await self.at_once(lambda: self.files.write(folder, name, kept.read_bytes()), size):
            return
        method = await self.method()
        transfer = await self.files.api.ask(
            lambda: client.upload(
                system, kept, folder, name, account=self.account or None, blocking=False, transfer_method=method
            )
        )
        if transfer is None:
            return
        if method == "streamer":
            await self.stream(transfer.wait_for_streamer_job_to_listen, transfer.upload_file_streamer)
            return
        await self.stored(transfer.upload_file_to_stage)
        await self.finished(transfer.transfer_data)

    async def get(self, path: str, kept: Path) -> None:
        """Fetch a file in one request."""
        kept.write_bytes(await self.files.api.ask(lambda: self.files.api.client.get(self.files.system, path)))

    async def at_once(self, move: Callable[[], Awaitable[None]], size: int) -> bool:
        """Move a file in one request; return whether the server takes one of this size so."""
        try:
            await move()
        except Failed as error:
            if size < SMALL or error.status not in (408, 413):
                raise
            return False
        return True

    async def method(self) -> str:
        """Return how the server moves large files; of those that it offers, two can be used."""
        said = (await self.files.described()).get("dataOperation") or {}
        offered = said.get("data_transfer") or said.get("dataTransfer") or {}
        method = str(offered.get("service_type") or offered.get("serviceType") or "")
        if method not in ("s3", "streamer"):
            what = f"offers only {method} for" if method else "has no store for"
            raise TransferError(
                f"{self.files.system} {what} files of more than {SMALL // 1024} KB; copy them over SSH."
            )
        return method

    async def stored(self, move: Callable[[], Awaitable[None]]) -> None:
        """Move data to or from the store; its address holds a signature, so errors of it are told without."""
        self.files.api.client._session.timeout = httpx.Timeout(STORED)
        try:
            await asyncio.wait_for(move(), LONGEST)
        except Exception as error:
            raise TransferError(f"the store beside the API failed ({type(error).__name__}); run it again.") from None

    async def stream(self, wait: Callable[[], Awaitable[None]], move: Callable[[], Awaitable[None]]) -> None:
        """Move data straight to or from a node."""
        try:
            await asyncio.wait_for(wait(), LONGEST)
            await asyncio.wait_for(move(), LONGEST)
        except Exception as error:
            raise TransferError(f"the stream to a node failed ({type(error).__name__}); run it again.") from None

    async def finished(self, transfer: dict[str, Any]) -> None:
        """Wait for the end of a transfer's batch job."""
        job_id, client = str(transfer["transferJob"]["jobId"]), self.files.api.client
        begun, pauses = time.monotonic(), iter(PAUSES)
        pause = PAUSES[-1]
        while time.monotonic() - begun < LONGEST:
            rows: list[Row] = []
            with suppress(NotThere, Failed):  # it may not be known yet, and the server may be busy
                rows = await self.files.api.ask(lambda: client.job_info(self.files.system, job_id))
            states = {state_of(row) for row in rows}
            if states and states <= {"COMPLETED"}:
                return
            if states and states <= set(ENDED):
                log = transfer["transferJob"].get("logs", {}).get("errorLog", "its log")
                raise TransferError(f"the transfer (job {job_id}) ended as {', '.join(states)}; see {log} there.")
            pause = next(pauses, pause)
            await asyncio.sleep(pause)
        with suppress(ClusterError):
            await self.files.api.ask(lambda: client.cancel_job(self.files.system, job_id))
        raise TransferError(f"the transfer (job {job_id}) did not end within {LONGEST / 3600:.0f} h; it is cancelled.")

    def writer(self, path: str, source: File) -> FirecrestWriter:
        """Take a file."""
        return FirecrestWriter(self, path, source)

    def checksum(self, path: str) -> str | None:
        """Let the platform compute the SHA-256 of a file; None where that would take it too long."""
        if not self.checksums:
            return None
        whole, client, system = self.whole(path), self.files.api.client, self.files.system
        try:
            found = self.run(self.files.api.ask(lambda: client.checksum(system, whole)))
        except TransferError:
            return None
        return str(found["checksum"])

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        if path not in ("", "/") and not self.is_folder(path):
            client, system = self.files.api.client, self.files.system
            self.run(self.files.api.ask(lambda: client.mkdir(system, path, create_parents=True)))

    def delete(self, path: str) -> None:
        """Delete a file."""
        client, system = self.files.api.client, self.files.system
        self.run(self.files.api.ask(lambda: client.rm(system, path)))

    def another(self) -> FirecrestPlace:
        """Return the same platform over connections of its own."""
        return FirecrestPlace(self.connection, account=self.account, system=self.system, checksums=self.checksums)

    def close(self) -> None:
        """Close the connections, and end the loop."""
        if self.loop.is_closed():
            return
        with suppress(Exception):
            self.run(self.files.api.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class FirecrestWriter:
    """A file on its way to a platform: kept here until it is whole, then sent."""

    offset = 0
    kept = 0

    def __init__(self, place: FirecrestPlace, path: str, source: File) -> None:
        """Begin; what an earlier try has sent is sent again."""
        if place.is_folder(path):
            raise TransferError(f"{path} is a folder at the target; end the path with a slash to copy into it.")
        self.place, self.path, self.source = place, place.whole(path), source
        place.make_folder(posixpath.dirname(self.path))
        self.folder = tempfile.TemporaryDirectory(prefix="windrose-")
        self.local = Path(self.folder.name, "file")
        self.file = self.local.open("wb")
        self.digest = hashlib.sha256()
        self.is_sent = False

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.file.write(data)
        self.digest.update(data)

    def checksum(self) -> str | None:
        """Send it; then let the platform compute the SHA-256 of what has arrived."""
        self.file.close()
        self.is_sent = True
        try:
            self.place.run(self.place.send(self.path, self.local, self.source.size))
            there = self.place.find(self.path)
        except TransferError:
            self.discard()
            raise
        if there is None or there.size != self.source.size:
            size = 0 if there is None else there.size
            self.discard()
            raise Mismatch(f"{self.path}: only {size} of {self.source.size} bytes arrived; is the disk full?")
        return self.place.checksum(self.path) if self.source.size <= SUMMED else None

    def finish(self) -> None:
        """It has its real name already; whether it may be run is set."""
        client, system, path = self.place.files.api.client, self.place.files.system, self.path
        mode = f"{self.source.mode & 0o755 | 0o600:o}"
        self.place.run(self.place.files.api.ask(lambda: client.chmod(system, path, mode)))

    def discard(self) -> None:
        """Delete what has arrived."""
        if self.is_sent:
            with suppress(TransferError, NotThere):
                self.place.delete(self.path)

    def close(self) -> None:
        """Let go of what is kept here."""
        self.file.close()
        self.folder.cleanup()
