"""The small files of jobs over FirecREST: made, written, listed, and read on from where one stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from windrose.slurm.firecrest_access import access_of
from windrose.slurm.firecrest_client import Api, Exists, Failed, NotThere
from windrose.slurm.model import AccessError, ClusterError

PIECE = 64 * 1024  # of a job's output, in one look
NEAR = 8 * 1024  # before the end, where somebody begins to read in the middle
WHOLE = 1024 * 1024  # a file up to this size is fetched as it is where its text is not clean
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
Reply = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing says of a file."""

    size: int
    modified: str  # as text, by the cluster's clock: only good to tell whether it has changed
    kind: str = "-"  # d for a folder, l for a link


@dataclass(frozen=True, slots=True)
class News:
    """What a file has got since the last look."""

    data: bytes
    at: int
    more: bool = False


class Files:
    """The files of one cluster."""

    def __init__(self, api: Api) -> None:
        """Take the API."""
        self.api = api
        self.known_home = ""
        self.lock = asyncio.Lock()

    @property
    def system(self) -> str:
        """Return what the API calls the cluster."""
        return self.api.access.system

    async def absolute(self, path: str) -> str:
        """Return a path as the API wants it: from the root; one that is not begins in the login's home."""
        below = path.strip().removeprefix("$HOME").removeprefix("~") if path.startswith(("~", "$HOME")) else path
        if below.startswith("/") and below == path:
            return checked(below.rstrip("/") or "/")
        below = below.strip("/")
        return checked(await self.home() + (f"/{below}" if below else ""))

    async def home(self) -> str:
        """Return where a login's own files are: below the folder that the site gives to everybody."""
        async with self.lock:
            if not self.known_home:
                mounts = (await self.described()).get("fileSystems") or []
                own = [str(each["path"]) for each in mounts if each.get("defaultWorkDir")]
                if not own:
                    raise AccessError(f"{self.system} names no folder for its users; write `scratch` in secrets.yaml.")
                user = (await self.api.ask(lambda: self.api.client.userinfo(self.system)))["user"]["name"]
                self.known_home = f"{own[0].rstrip('/')}/{user}"
        return self.known_home

    async def described(self) -> Reply:
        """Return what the API says of the cluster."""
        systems: list[Reply] = await self.api.ask(self.api.client.systems)
        for each in systems:
            if str(each.get("name", "")).lower() == self.system.lower():
                return each
        names = ", ".join(str(each.get("name")) for each in systems) or "none"
        raise AccessError(f"the API has no system {self.system} (it has {names}); correct `system` in secrets.yaml.")

    async def make(self, path: str) -> bool:
        """Make a folder, not those above it; return whether it was us who made it."""
        try:
            await self.api.ask(lambda: self.api.client.mkdir(self.system, checked(path)))
        except Exists:
            return False
        return True

    async def protect(self, path: str, mode: str) -> None:
        """Say who may use a folder."""
        await self.api.ask(lambda: self.api.client.chmod(self.system, checked(path), mode))

    async def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a small file; whoever reads meanwhile may see a part of it."""
        path = checked(f"{folder}/{name}")
        try:
            await self.api.ask(lambda: self.api.client.put(self.system, folder, name, data))
        except Failed as error:
            # With nothing to write, the server makes the file and then waits for its content until its time is over.
            if data or error.status != 408 or await self.size(path) != 0:
                raise

    async def text(self, path: str) -> str:
        """Return what is in a small file."""
        data = await self.api.ask(lambda: self.api.client.get(self.system, checked(path)))
        return data.decode("utf-8", "replace")

    async def listed(self, folder: str) -> dict[str, Listed]:
        """Return what a folder holds, by name."""
        rows = await self.api.ask(lambda: self.api.client.list_files(self.system, checked(folder), show_hidden=True))
        return {str(row["name"]): read_row(row) for row in rows}

    async def modified(self, path: str) -> float:
        """Return when a file was changed, by the clock of its file system."""
        found: Reply = await self.api.ask(lambda: self.api.client.stat(self.system, checked(path)))
        return float(found["mtime"])

    async def size(self, path: str) -> int:
        """Return how long a file is."""
        found: Reply = await self.api.ask(lambda: self.api.client.stat(self.system, checked(path), dereference=True))
        return int(found["size"])

    async def end(self, path: str, size: int) -> str:
        """Return the end of a file, begun at a line where that can be."""
        found: Reply = await self.api.ask(lambda: self.api.client.tail(self.system, checked(path), num_bytes=size))
        text = str(found["content"])
        return text.partition("\n")[2] if len(text.encode()) >= size and "\n" in text[:-1] else text

    async def news(self, path: str, at: int | None, listed: Listed | None) -> News:
        """Return what a file has got since a place in it; None: begin near its end."""
        size = listed.size if listed is not None else 0
        if at is None:
            at = max(0, size - NEAR)
        if listed is not None and size < at:
            at = 0  # a job that was started again may begin its files anew
        if size <= at:
            return News(b"", at)
        try:
            if size - at <= PIECE:
                return await self.rest(path, at, size)
            return await self.middle(path, at, size)
        except NotThere:
            return News(b"", at)

    async def rest(self, path: str, at: int, size: int) -> News:
        """Return all from a place on; the file may have grown since it was listed."""
        found: Reply = await self.api.ask(
            lambda: self.api.client.tail(self.system, checked(path), num_bytes=at + 1, exclude_beginning=True)
        )
        text = str(found["content"])
        if UNREADABLE not in text:
            data = text.encode()
            return News(data[:PIECE], at + len(data[:PIECE]), more=len(data) > PIECE)
        if size <= WHOLE:
            data = await self.api.ask(lambda: self.api.client.get(self.system, checked(path)))
            return News(data[at : at + PIECE], max(size, at) if len(data) < size else min(len(data), at + PIECE))
        # What was unreadable is one byte nearly always; the file's own size puts right what was counted wrong.
        return News(as_bytes(text)[:PIECE], size)

    async def middle(self, path: str, at: int, size: int) -> News:
        """Return a piece: the server reads by blocks, as text, so begin at a block and leave out what is known."""
        block = at // PIECE * PIECE
        text = await self.api.ask(lambda: self.api.client.piece(self.system, checked(path), block, PIECE))
        data = as_bytes(text)[at - block :][:PIECE]
        if not data:
            return News(b"", block + PIECE, more=True)
        return News(data, min(at + len(data), size), more=True)


async def is_usable(connection: Any, *, seconds: float) -> None:  # noqa: ANN401 - Airflow's connection
    """Get a token and ask for the machine; raise where nobody could work there now."""
    api = Api(access_of(connection))
    try:
        async with asyncio.timeout(seconds):
            said = await Files(api).described()
    except TimeoutError:
        raise ClusterError(f"no answer within {seconds:.0f} s") from None
    finally:
        await api.close()
    ill = [str(each.get("serviceType")) for each in said.get("servicesHealth") or [] if each.get("healthy") is False]
    if ill:
        raise ClusterError(f"the API says that {api.access.system} is not well: {', '.join(ill)}")


def as_bytes(text: str) -> bytes:
    """Return text as the bytes that it was, as far as can be told: what was unreadable is one byte nearly always."""
    return b"\xff".join(part.encode() for part in text.split(UNREADABLE))


def read_row(row: Reply) -> Listed:
    """Return what one line of a listing says."""
    return Listed(int(row.get("size") or 0), str(row.get("lastModified") or ""), str(row.get("type") or "-"))


def checked(path: str) -> str:
    """Return a path; refuse one that a server would not take as it is: it puts paths between quotes unchanged."""
    if not path.startswith("/") or "'" in path or not path.isprintable():
        raise AccessError(
            f"{path!r} is no path that FirecREST can take: it must be whole, without quotes and ends of line."
        )
    return path
