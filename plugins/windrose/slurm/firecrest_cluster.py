"""Slurm over FirecREST: submit once, look, cancel, with small files, one listing of jobs, and few requests.

A folder on the cluster is the one thing that two tries can agree on: mkdir succeeds once. What ssh does by renaming, is
done here by files that are whole only with the end of their line, because a rename is a batch job of its own there.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from windrose.slurm import firecrest_jobs as jobs
from windrose.slurm.answers import whole
from windrose.slurm.firecrest_access import access_of
from windrose.slurm.firecrest_client import WINDOW, Api, Failed, NotThere
from windrose.slurm.firecrest_files import Files, Listed
from windrose.slurm.model import (
    FOLDER,
    KEPT_LINES,
    AccessError,
    Asked,
    ClusterError,
    Facts,
    Job,
    Platform,
    Queued,
    Record,
    Refused,
    Seen,
    Submitted,
    Unsure,
)

LONGEST_SUBMIT = 180.0  # seconds in which a submit that was begun comes to its end, heard of or not
PAUSE = 20.0  # until somebody who could not find out asks again
SINGLES = 8  # jobs that are asked for on their own in one look, because the listing does not reach back to them
TURN = 100  # jobs whose files are read in one look: each takes up to three requests
RECORDS = 16  # of an array, read in one look
ARRAYS = 200  # whose records are remembered
LAST = 64 * 1024  # bytes that the last lines are looked for in
CANCELLED = "cancelled"  # a file in the folder: the job is not to be submitted, and does nothing if it starts
ID = re.compile(r"(\d+)\n")
CODE = re.compile(r"\s*(\d+)\b")


class FirecrestCluster:
    """A cluster behind FirecREST; to be used in one event loop."""

    def __init__(self, platform: Platform, connection: Any) -> None:  # noqa: ANN401 - Airflow's connection, or None
        """Take a platform and Airflow's connection to it; nothing is sent yet."""
        self.platform, self.connection = platform, connection
        self.opened: Api | None = None
        self.opened_files: Files | None = None
        self.records: dict[str, dict[str, tuple[str, int]]] = {}  # of arrays: token -> file -> when written, code
        self.origins: dict[str, dict[str, Any]] = {}

    @property
    def api(self) -> Api:
        """Return the API, whose credentials are read when it is first needed."""
        if self.opened is None:
            self.opened = Api(access_of(self.connection, system=self.platform.id))
        return self.opened

    @property
    def system(self) -> str:
        """Return what the API calls the cluster."""
        return self.api.access.system

    @property
    def files(self) -> Files:
        """Return the cluster's files."""
        if self.opened_files is None:
            self.opened_files = Files(self.api)
        return self.opened_files

    async def folder_of(self, token: str) -> str:
        """Return a job's folder, as a whole path."""
        return f"{await self.files.absolute(self.platform.scratch)}/{FOLDER}/{token}"

    async def submit(self, job: Job) -> Submitted | Refused | Unsure:
        """Submit the job of this token, or find the one that was submitted."""
        folder = await self.folder_of(job.token)
        attempt = 1
        try:
            is_new = await self.make_folder(folder)
        except NotThere:
            return Refused(f"there is no folder {folder.removesuffix(f'/{FOLDER}/{job.token}')}")
        # Inputs may have been copied there already; so its being new says something, and its being there nothing.
        if not is_new:
            found = await self.find(job, folder)
            if not isinstance(found, int):
                return found
            attempt = found
        if not await self.files.make(f"{folder}/attempt.{attempt}"):
            return Unsure("another submit of this job is under way", PAUSE)
        try:
            await self.write(job, folder)
        except ClusterError:
            await self.note_refusal(folder, attempt)  # nothing was submitted: the next try need not wait
            raise
        if await self.age(folder, attempt) > LONGEST_SUBMIT / 3:
            await self.note_refusal(folder, attempt)
            return Unsure("the API is slow", PAUSE)  # somebody else may take over before its answer comes
        return await self.begin(job, folder, attempt)

    async def make_folder(self, folder: str) -> bool:
        """Make a job's folder; return whether it was us who made it."""
        try:
            is_new = await self.files.make(folder)
        except NotThere:
            above = folder.rpartition("/")[0]
            if await self.files.make(above):
                # A project's scratch is for all its members, and so is the folder for jobs.
                await self.files.protect(above, "1770")
            is_new = await self.files.make(folder)
        if is_new:
            # What jobs print, and what they were given, is nobody else's on a shared disk.
            await self.files.protect(folder, "700")
        return is_new

    async def find(self, job: Job, folder: str) -> Submitted | Refused | Unsure | int:
        """Return the job that was submitted before; else the number of the try that may begin."""
        there = await self.files.listed(folder)
        if known := await self.stored_id(folder, there):
            return Submitted(known, folder, fresh=False)
        if CANCELLED in there:
            return Refused("the job was cancelled before it was submitted")
        last = max((int(name[8:]) for name in there if re.fullmatch(r"attempt\.\d+", name)), default=0)
        if last == 0 or "refused" in await self.files.listed(f"{folder}/attempt.{last}"):
            return last + 1
        if known := jobs.id_of(jobs.by_token(await self.listing(WINDOW)).get(job.token, [])):
            await self.store_id(folder, known)
            return Submitted(known, folder, fresh=False)
        left = LONGEST_SUBMIT - await self.age(folder, last)
        if left > 0:
            return Unsure("an earlier submit was not answered, and the job is not in the queue", left)
        return last + 1

    async def age(self, folder: str, attempt: int) -> float:
        """Return how long ago a try began, by the clock of the file system alone."""
        await self.files.write(folder, ".now", b"\n")
        now, then = await asyncio.gather(
            self.files.modified(f"{folder}/.now"), self.files.modified(f"{folder}/attempt.{attempt}")
        )
        return now - then

    async def write(self, job: Job, folder: str) -> None:
        """Put into the folder what belongs to the job."""
        script = job.script.replace("{folder}", folder)
        await self.files.write(folder, "origin.json", (json.dumps(dict(job.origin), sort_keys=True) + "\n").encode())
        if job.payload:
            await self.files.write(folder, "script", job.payload.encode("utf-8", "surrogateescape"))
        await self.files.write(folder, "job.sh", script.encode("utf-8", "surrogateescape"))
        await self.files.make(f"{folder}/work")

    async def begin(self, job: Job, folder: str, attempt: int) -> Submitted | Refused | Unsure:
        """Let the API run sbatch, on the file: so its #SBATCH lines count, however the site talks to Slurm."""
        client, system = self.api.client, self.system
        where = jobs.chdir_of(job.script) or f"{folder}/work"
        try:
            answer = await self.api.ask(
                lambda: client.submit(system, working_dir=where, script_remote_path=f"{folder}/job.sh")
            )
        except Failed as error:
            return await self.not_submitted(error, job, folder, attempt)
        except AccessError:
            await self.note_refusal(folder, attempt)
            raise
        job_id = str(answer.get("jobId") or "")
        if not job_id.isdigit():
            return Unsure("the API took the job, but did not say its id", PAUSE)
        known = ""
        with suppress(ClusterError):
            known = await self.stored_id(folder)
        if known and known != job_id:
            # The first one that is written down is the one.
            await self.cancel_one(job.token, job_id)
            return Submitted(known, folder, fresh=False)
        await self.store_id(folder, job_id)
        return Submitted(job_id, folder, fresh=True)

    async def not_submitted(self, error: Failed, job: Job, folder: str, attempt: int) -> Submitted | Refused | Unsure:
        """Return what it means that no id came back."""
        says = jobs.refusal_in(error)
        if not says and error.is_sent and error.status not in (404, 429):
            return Unsure(str(error).rstrip("."), PAUSE)
        if says and (known := jobs.id_of(jobs.by_token(await self.listing()).get(job.token, []))):
            return Submitted(known, folder, fresh=False)
        await self.note_refusal(folder, attempt)
        if says:
            return Refused(says)
        raise error

    async def note_refusal(self, folder: str, attempt: int) -> None:
        """Note that a try has left no job behind; without the note the next one only waits longer."""
        with suppress(ClusterError):
            await self.files.make(f"{folder}/attempt.{attempt}/refused")

    async def store_id(self, folder: str, job_id: str) -> None:
        """Keep a job's id; where that cannot be, the job does it as it starts, and until then its name tells."""
        with suppress(ClusterError):
            await self.files.write(folder, "id", f"{job_id}\n".encode())

    async def stored_id(self, folder: str, there: Container[str] = ("id",)) -> str:
        """Return the id that was kept, '' where there is none yet, or not all of it."""
        try:
            found = ID.fullmatch(await self.files.text(f"{folder}/id")) if "id" in there else None
        except NotThere:
            return ""
        return found[1] if found else ""

    async def listing(self, window: str = "") -> Sequence[jobs.Row]:
        """Return all jobs of this login: those in the queue, and those that ended not long ago."""
        rows = await self.api.ask(lambda: self.api.client.jobs(self.system, window))
        return rows

    async def look(self, asked: Sequence[Asked]) -> dict[str, Seen]:
        """Look at many jobs at once; return what was seen of each, by token.

        A job that has ended is left out while its files cannot be read, or have no turn; that hides none of the others.
        """
        if not asked:
            return {}
        rows, accounting = await self.known(asked)
        facts = {each.token: jobs.facts_of(rows.get(each.token, [])) for each in asked}
        # Those that go on and have no turn this time: where they stand is known all the same.
        turn = jobs.in_turn(asked, facts, TURN)
        seen = {
            each.token: Seen(facts=one, accounting=accounting, out_at=each.out, err_at=each.err)
            for each in asked
            if (one := facts[each.token]) and one.state not in jobs.ENDED
            if each.out is not None and each.err is not None
        }
        found = await asyncio.gather(
            *(self.see(each, facts[each.token], accounting) for each in turn), return_exceptions=True
        )
        seen |= {each.token: one for each, one in zip(turn, found, strict=True) if isinstance(one, Seen)}
        for error in found:
            if isinstance(error, BaseException) and (not seen or not isinstance(error, ClusterError)):
                raise error
        return seen

    async def known(self, asked: Sequence[Asked]) -> tuple[dict[str, list[jobs.Row]], str]:
        """Return what Slurm knows of the jobs, and `ok` or why it could not be asked."""
        try:
            rows = jobs.by_token(await self.listing())
        except Failed as error:
            # The API reaches the machine, but Slurm's own commands fail there: the files still tell.
            if error.status == 500 and "Slurm" in error.says:
                return {}, error.says
            raise
        missing = [each for each in asked if each.token not in rows and each.job_id][:SINGLES]
        found = await asyncio.gather(*map(self.single, missing), return_exceptions=True)
        for each, one in zip(missing, found, strict=True):
            if isinstance(one, list) and one:
                rows[each.token] = one
        return rows, "ok"

    async def single(self, asked: Asked) -> list[jobs.Row]:
        """Ask for one job by its id; an id that was given to another job since does not count."""
        try:
            rows = await self.api.ask(lambda: self.api.client.job_info(self.system, asked.job_id))
        except NotThere:
            return []
        return [row for row in rows if jobs.token_of(row) == asked.token]

    async def see(self, asked: Asked, facts: Facts | None, accounting: str) -> Seen:
        """Look at one job's files, unless it has not begun."""
        nothing_new = Seen(facts=facts, accounting=accounting, out_at=asked.out or 0, err_at=asked.err or 0)
        if facts is not None and facts.state in jobs.WAITING and not asked.out and not asked.err:
            return nothing_new
        try:
            there = await self.files.listed(asked.folder)
        except NotThere:
            return nothing_new
        record = await self.record(asked, there)
        if asked.array:
            said = (await self.files.text(f"{asked.folder}/elements")).strip() if "elements" in there else ""
            if said.isdigit():
                facts, record, accounting = whole(facts, record, accounting, int(said))
            return replace(nothing_new, facts=facts, record=record, accounting=accounting)
        out = await self.files.news(f"{asked.folder}/out", asked.out, there.get("out"))
        err = await self.files.news(f"{asked.folder}/err", asked.err, there.get("err"))
        return Seen(
            facts=facts,
            record=record,
            accounting=accounting,
            out=out.data,
            err=err.data,
            out_at=out.at,
            err_at=err.at,
            more=out.more or err.more,
        )

    async def record(self, asked: Asked, there: dict[str, Listed]) -> Record | None:
        """Return what the job wrote as it ended; of an array, as far as it has been read."""
        known = self.records[asked.token] = self.records.pop(asked.token, {})  # the latest at the end
        while len(self.records) > ARRAYS:
            del self.records[next(iter(self.records))]
        names = {name: found.modified for name, found in there.items() if re.fullmatch(r"exit\.\d+", name)}
        for name in [name for name in known if names.get(name) != known[name][0]]:
            del known[name]
        for name in [name for name in names if name not in known][:RECORDS]:
            try:
                found = CODE.match(await self.files.text(f"{asked.folder}/{name}"))
            except NotThere:
                continue  # the job was started again
            if found:
                known[name] = (names[name], int(found[1]))
        codes = [code for _, code in known.values()]
        if not asked.array:
            del self.records[asked.token]
        return Record(max(codes), len(codes), sum(code != 0 for code in codes)) if codes else None

    async def tail(self, asked: Asked) -> tuple[list[str], list[str]]:
        """Return the last lines of a job's output and of its errors; of an array, of the element that ended worst."""
        end = f".{await self.worst_element(asked)}" if asked.array else ""
        out, err = await asyncio.gather(*(self.last(f"{asked.folder}/{name}{end}") for name in ("out", "err")))
        return out, err

    async def last(self, path: str) -> list[str]:
        """Return the last lines of a file, none of one that does not exist."""
        try:
            return (await self.files.end(path, LAST)).splitlines()[-KEPT_LINES:]
        except NotThere:
            return []

    async def worst_element(self, asked: Asked) -> str:
        """Return the index of an array's element whose output tells most."""
        rows = await self.single(asked)
        bad = [row for row in rows if jobs.is_ended(row) and jobs.state_of(row) != "COMPLETED"]
        ids = [str(jobs.worst(bad).get("jobId"))] if bad else [str(row.get("jobId")) for row in rows]
        indexes = [each.partition("_")[2] for each in ids if re.fullmatch(r"\d+_\d+", each)]
        if indexes:
            return indexes[0]
        there = await self.files.listed(asked.folder)
        written = sorted(name[4:] for name in there if re.fullmatch(r"out\.\d+", name))
        return written[0] if written else "0"

    async def cancel(self, token: str, job_id: str = "") -> str:
        """Cancel a job, by its name where its id is not known; return its id. Twice is fine, and so is an ended one."""
        folder = await self.folder_of(token)
        with suppress(Failed):
            job_id = job_id or await self.stored_id(folder)
        # The known one first: a task that is killed has seconds. An id may be another job's by now; the name tells.
        rows = await self.single(Asked(token, job_id, "")) if job_id else []
        if any(not jobs.is_ended(row) for row in rows):
            await self.cancel_one(token, job_id)
        with suppress(Failed):  # a job that a submit on its way still brings sees this as it starts
            await self.files.make(folder)
            await self.files.write(folder, CANCELLED, b"\n")
        if not rows:
            rows = [row for row in jobs.by_token(await self.listing()).get(token, []) if not jobs.is_ended(row)]
            job_id = jobs.id_of(rows) or job_id
            if rows:
                await self.cancel_one(token, job_id)
        return job_id

    async def cancel_one(self, token: str, job_id: str) -> None:
        """Cancel a job by its id."""
        try:
            await self.api.ask(lambda: self.api.client.cancel_job(self.system, job_id))
        except NotThere:
            return
        except Failed as error:
            if error.status != 500:
                raise
            # scancel complains of a job that is over; of one that is not, it is to be believed.
            if any(not jobs.is_ended(row) for row in await self.single(Asked(token, job_id, ""))):
                raise

    async def queued(self) -> list[Queued]:
        """Return every job of ours in the queue of this login."""
        found = []
        for token, rows in jobs.by_token(await self.listing()).items():
            facts = jobs.facts_of([row for row in rows if not jobs.is_ended(row)])
            if facts is not None:
                found.append(Queued(token, jobs.id_of(rows), facts.state, await self.origin(token)))
        return found

    async def origin(self, token: str) -> dict[str, Any]:
        """Return where a job comes from, as its folder tells."""
        if token not in self.origins:
            try:
                said = json.loads(await self.files.text(f"{await self.folder_of(token)}/origin.json"))
            except (NotThere, ValueError):
                return {}
            self.origins[token] = said if isinstance(said, dict) else {}
        return self.origins[token]

    async def close(self) -> None:
        """Let go of every connection."""
        if self.opened is not None:
            await self.opened.close()
        self.opened = self.opened_files = None
