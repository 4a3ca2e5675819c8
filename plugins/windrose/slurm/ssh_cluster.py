"""A cluster over SSH: one connection, at most four programs at a time on it, every answer checked before it counts."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from windrose import certificates
from windrose.slurm import answers, remote, remote_look
from windrose.slurm.model import (
    AccessError,
    Asked,
    ClusterError,
    Job,
    Platform,
    Queued,
    Refused,
    Seen,
    Submitted,
    Unsure,
)
from windrose.slurm.remote import Call

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection, SSHClientProcess

CHANNELS = 4  # servers allow ten, and others work there, too
CONNECT_SECONDS = 45.0
MOST_SAID = 128 * 1024 * 1024
PIECE = 64 * 1024

Connect = Callable[[], Awaitable["SSHClientConnection"]]


class SshCluster:
    """Slurm on a machine that is reached over SSH."""

    def __init__(self, platform: Platform, connect: Connect, *, key_file: str = "") -> None:
        """Take what the platform says of itself, a function that connects, and the file of its key."""
        self.platform, self.connect, self.key_file = platform, connect, key_file
        self.connection: SSHClientConnection | None = None
        self.connecting = asyncio.Lock()
        self.channels = asyncio.Semaphore(CHANNELS)

    async def submit(self, job: Job) -> Submitted | Refused | Unsure:
        """Submit the job of this token, or find the one that was submitted."""
        origin = json.dumps(dict(job.origin), sort_keys=True)
        texts = [text.encode("utf-8", "surrogateescape") for text in (job.script, job.payload, origin)]
        call = remote.submit(self.platform.scratch, job.token, job.name, (texts[0], texts[1], texts[2]))
        found = await self.run(call)
        folder = next((item.text for item in found if item.words == ("folder",)), "")
        for item in found:
            match item.words:
                case ("submitted" | "found" as how,):
                    return Submitted(item.text.strip(), folder, fresh=how == "submitted")
                case ("refused",):
                    return Refused(answers.sentence(item.text, 2000))
                case ("unsure", wait):
                    return Unsure(answers.sentence(item.text), float(wait))
                case ("problem",):
                    raise self.error(item.text)
        raise self.error("nobody knows what became of the submit")

    async def folder_of(self, token: str) -> str:
        """Return a job's folder there, as a whole path."""
        found = await self.run(remote.folder(self.platform.scratch, token))
        self.check(found)
        return next(item.text for item in found if item.words == ("folder",))

    async def look(self, asked: Sequence[Asked]) -> dict[str, Seen]:
        """Look at many jobs at once; return what was seen of each, by token."""
        if not asked:
            return {}
        # A look brings so much output and no more: in another order each time, every job has its turn.
        found = await self.run(remote_look.look(random.sample(asked, len(asked))))
        self.check(found)
        return answers.seen(found, asked)

    async def tail(self, asked: Asked) -> tuple[list[str], list[str]]:
        """Return the last lines of a job's output and of its errors; of an array, of the element that ended worst."""
        found = await self.run(remote_look.tail(asked))
        self.check(found)
        streams = {item.words[0]: item for item in found}
        return answers.last_lines(streams.get("out")), answers.last_lines(streams.get("err"))

    async def cancel(self, token: str, job_id: str = "") -> str:
        """Cancel a job, by its name where its id is not known; return its id. Twice is fine, and so is an ended one."""
        found = await self.run(remote.cancel(self.platform.scratch, token, job_id))
        self.check(found)
        return next((item.text.strip() for item in found if item.words == ("cancelled",)), job_id)

    async def queued(self) -> list[Queued]:
        """Return every job of ours in the queue of this login."""
        found = await self.run(remote.queued(self.platform.scratch))
        self.check(found)
        rows = [item for item in found if item.words[0] == "queued" and len(item.words) == 5]
        return [answers.queued(item) for item in rows]

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
            with suppress(Exception):
                await asyncio.wait_for(connection.wait_closed(), 5)

    async def run(self, call: Call) -> list[answers.Item]:
        """Run a program there and return its answer."""
        async with self.channels:
            connection = await self.connected()
            try:
                said = await asyncio.wait_for(talk(connection, call), call.seconds)
            except TimeoutError:
                # Whatever hangs there may hang the connection, too.
                await self.close()
                raise self.error(f"there was no answer within {call.seconds:.0f} seconds") from None
            except Exception as error:  # asyncssh and the system have many; all of them mean that it broke
                await self.close()
                raise self.error(f"the connection broke: {reason(error)}") from error
        try:
            return answers.items(said, call.mark)
        except ClusterError as error:
            raise self.error(str(error)) from error

    async def connected(self) -> SSHClientConnection:
        """Return the connection, made again where it broke."""
        async with self.connecting:
            if self.connection is None or self.connection.is_closed():
                # A line for each channel and request is nothing for a task's log.
                logging.getLogger("asyncssh").setLevel(logging.WARNING)
                try:
                    self.connection = await asyncio.wait_for(self.connect(), CONNECT_SECONDS)
                except TimeoutError:
                    raise self.error(f"there is no answer to a login within {CONNECT_SECONDS:.0f} seconds") from None
                except Exception as error:  # asyncssh and the system have many; all mean that nobody gets in
                    raise self.no_login(error) from error
            return self.connection

    def no_login(self, error: Exception) -> ClusterError:
        """Return the error that tells why nobody gets in, and whether somebody has to do something."""
        import asyncssh

        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            mend = f"if it was changed there, compare it and run `make trust PLATFORM={self.platform.id}`"
            return AccessError(self.sentence(f"the server's key is not the one that is pinned; {mend}"))
        if isinstance(error, asyncssh.PermissionDenied):
            return AccessError(self.sentence(f"the login was refused; {self.mend_of_login()}"))
        if isinstance(error, asyncssh.KeyImportError | asyncssh.KeyEncryptionError | FileNotFoundError):
            return AccessError(self.sentence(f"its key cannot be read ({reason(error)}); see `make check-platforms`"))
        return self.error(f"no connection ({reason(error)})")

    def mend_of_login(self) -> str:
        """Return what to do where a login is refused: mostly, it is the certificate."""
        try:
            certificate = certificates.read_certificate(self.key_file)
        except certificates.DamagedCertificate as error:
            return str(error)
        problem = certificates.problem_of(certificate, now=datetime.now(UTC), hours=0) if certificate else ""
        return problem or f"run `make check-platforms PLATFORM={self.platform.id}`"

    def check(self, found: Sequence[answers.Item]) -> None:
        """Raise what a program says went wrong."""
        for item in found:
            if item.words in (("problem",), ("refused",)):
                raise self.error(item.text)

    def sentence(self, text: str) -> str:
        """Return a sentence about the platform."""
        return f"{self.platform.id}: {answers.sentence(text).rstrip('.')}."

    def error(self, text: str) -> ClusterError:
        """Return the error of a cluster that cannot be asked now."""
        return ClusterError(self.sentence(text))


async def talk(connection: SSHClientConnection, call: Call) -> bytes:
    """Run a program, give it its data, and return what it says up to its mark; then nobody waits for its shell."""
    import asyncssh

    process: SSHClientProcess[bytes] = await connection.create_process(
        call.command, encoding=None, stderr=asyncssh.DEVNULL
    )
    try:
        # A program that needs nothing to read may have ended already; what it said decides.
        with suppress(OSError):
            process.stdin.write(call.data)
            process.stdin.write_eof()
        end, said = f"\n{call.mark}-end\n".encode(), bytearray()
        while piece := await process.stdout.read(PIECE):
            said += piece
            if end in said[-len(piece) - len(end) :]:
                break
            if len(said) > MOST_SAID:
                raise ClusterError("there is no end to what it says")
        return bytes(said)
    finally:
        process.close()


def reason(error: BaseException) -> str:
    """Return what a library says of an error."""
    return answers.sentence(str(error), 300).rstrip(".") or type(error).__name__
