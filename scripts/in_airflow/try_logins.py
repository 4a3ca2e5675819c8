"""Can tasks log in to every platform? Tried for real, from where tasks run, with what Airflow's async hook would use.

JSON on stdin: {"platforms": [{"id", "type", "address", "port", "user", "password", "key_file", "host_key",
    "check_host_key", "scratch", "scheduler", "proxy": [command to get there], "door": first address on the way}],
    "endpoints": [{"id", "address", "port"}], "timeout": seconds, "parallel": number}
JSON on stdout: {"<id>": {"<step>": [state, detail]}}; a state is "ok", "-" (not asked) or the code of a reason.
What a server says is cut short, made one line and never believed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh

STEPS = ("name", "port", "host_key", "login", "shell", "scratch", "scheduler", "certificate")
MOST_OUTPUT, LONGEST_DETAIL = 65536, 200
MOST_ADDRESSES, SHORTEST_WAIT = 8, 3.0
LAST_WORDS = 1.0  # seconds for a command that fails to say why
VARIABLE = re.compile(r"(\$\{[A-Za-z_]\w*\}|\$[A-Za-z_]\w*)")
MARK = "windrose-answer:"
KNOWN_HOSTS = "~/.ssh/known_hosts"  # what both hooks read
Result = dict[str, list[str]]


class Failure(Exception):
    """A step that failed: which, the code of the reason, and what there is to tell."""

    def __init__(self, step: str, code: str, detail: str = "") -> None:
        super().__init__(step, code, detail)
        self.step, self.code, self.detail = step, code, detail


class Client(asyncssh.SSHClient):
    """Notes what the server showed and what it would take."""

    def __init__(self) -> None:
        self.shown = ""
        self.methods: list[str] = []
        self.connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection: it knows how far it came."""
        self.connection = conn

    def stage(self) -> str:
        """Return the step that was being taken when it ended."""
        if not self.connection or not self.connection.get_extra_info("server_version"):
            return "port"
        return "login" if self.connection.get_server_host_key() else "host_key"

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Note a key that is not pinned, and refuse it as asyncssh would."""
        self.shown = key.get_fingerprint()
        return False

    def public_key_auth_requested(self) -> None:
        """Note that the server takes keys; ours have been tried by now."""
        self.methods.append("publickey")

    def password_auth_requested(self) -> None:
        """Note that the server takes passwords; ours has been tried by now."""
        self.methods.append("password")


async def try_all(request: dict[str, Any]) -> dict[str, Result]:
    """Try everything, a few at once and never two at once at one door."""
    places = asyncio.Semaphore(int(request["parallel"]))
    doors = {platform["door"]: asyncio.Lock() for platform in request["platforms"]}
    timeout = float(request["timeout"])

    async def enter(platform: dict[str, Any]) -> Result:
        async with doors[platform["door"]], places:
            return await take_steps(lambda result: visit(platform, timeout, result))

    async def knock(endpoint: dict[str, Any]) -> Result:
        async with places:
            return await take_steps(lambda result: look(endpoint, timeout, result))

    tries = [enter(platform) for platform in request["platforms"]]
    tries += [knock(endpoint) for endpoint in request["endpoints"]]
    ids = [each["id"] for each in [*request["platforms"], *request["endpoints"]]]
    return dict(zip(ids, await asyncio.gather(*tries), strict=True))


async def take_steps(work: Callable[[Result], Awaitable[None]]) -> Result:
    """Return what came of each step; the first failure on the way in ends it."""
    result: Result = {step: ["-", ""] for step in STEPS}
    try:
        await work(result)
    except Failure as failure:
        result[failure.step] = [failure.code, one_line(failure.detail)]
    return result


async def look(endpoint: dict[str, Any], timeout: float, result: Result) -> None:
    """Find the name and open the port."""
    (await open_port(endpoint, timeout, result)).close()


async def visit(platform: dict[str, Any], timeout: float, result: Result) -> None:
    """Get there, log in, and ask what there is to ask."""
    result["certificate"] = certificate_state(platform["key_file"])
    try:
        check_key_file(platform["key_file"])
    except Failure:
        if not platform["proxy"]:
            await look(platform, timeout, result)  # the way there may be told all the same
        raise
    process: asyncio.subprocess.Process | None = None
    if platform["proxy"]:
        connected, process = await open_way(platform["proxy"])
    else:
        connected = await open_port(platform, timeout, result)
    try:
        connection = await log_in(platform, connected, timeout, process=process, result=result)
        async with connection:
            await ask_everything(connection, platform, timeout, result)
    finally:
        connected.close()
        if process:
            await end_way(process)


def check_key_file(key_file: str) -> None:
    """Look at the key first: no server is asked to log in somebody whose key cannot be used."""
    if not key_file:
        return
    try:
        asyncssh.read_private_key(key_file)
    except FileNotFoundError:
        raise Failure("login", "key-missing") from None
    except OSError as error:
        raise Failure("login", "key-unreadable", error.strerror or "") from None
    except asyncssh.KeyEncryptionError:
        raise Failure("login", "key-locked") from None
    except asyncssh.KeyImportError as error:
        raise Failure("login", "key-locked" if "assphrase" in str(error) else "key-unusable") from None


async def open_port(place: dict[str, Any], timeout: float, result: Result) -> socket.socket:
    """Find the name, then open the port of the first address that answers."""
    loop = asyncio.get_running_loop()
    try:
        question = loop.getaddrinfo(place["address"], place["port"], type=socket.SOCK_STREAM)
        found = await asyncio.wait_for(question, timeout)
    except TimeoutError:
        raise Failure("name", "timeout") from None
    except OSError:
        raise Failure("name", "name-not-found") from None
    result["name"] = ["ok", str(found[0][4][0])]
    failure = Failure("port", "unreachable")
    patience = max(SHORTEST_WAIT, timeout / len(found))
    for family, kind, protocol, _, address in found[:MOST_ADDRESSES]:
        candidate = socket.socket(family, kind, protocol)
        candidate.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(candidate, address), patience)
        except (OSError, TimeoutError) as error:
            candidate.close()
            codes = {ConnectionRefusedError: "refused", TimeoutError: "timeout"}
            failure = Failure("port", codes.get(type(error), "unreachable"))
        else:
            result["name"], result["port"] = ["ok", str(address[0])], ["ok", str(place["port"])]
            return candidate
    raise failure


async def log_in(
    platform: dict[str, Any],
    connected: socket.socket,
    timeout: float,
    *,
    process: asyncio.subprocess.Process | None,
    result: Result,
) -> asyncssh.SSHClientConnection:
    """Log in as SSHHookAsync does; say which step failed where it does not."""
    client = Client()
    options = hook_options(platform)
    attempt = asyncssh.connect(
        platform["address"], platform["port"], sock=connected, client_factory=lambda: client, **options
    )
    try:
        connection = await asyncio.wait_for(attempt, timeout)
    except (OSError, TimeoutError, ValueError, asyncssh.Error) as error:
        said = await end_way(process) if process else ""
        failure = explain(error, platform, client, said=said)
        note_passed(platform, STEPS[1 : STEPS.index(failure.step)], result)
        raise failure from None
    note_passed(platform, STEPS[1:4], result)
    return connection


def note_passed(platform: dict[str, Any], steps: tuple[str, ...], result: Result) -> None:
    """Write down the steps that went well on the way to the one that did not."""
    for step in steps:
        result[step] = ["ok", str(platform["port"]) if step == "port" else ""]
    if "host_key" in steps and not platform["check_host_key"]:
        result["host_key"] = ["not-checked", ""]


def hook_options(platform: dict[str, Any]) -> dict[str, Any]:
    """Return what SSHHookAsync hands to asyncssh for such a connection."""
    options: dict[str, Any] = {"username": platform["user"] or None, "password": platform["password"]}
    if platform["key_file"]:
        options["client_keys"] = platform["key_file"]
    if not platform["check_host_key"]:
        options["known_hosts"] = None
    elif platform["host_key"]:
        options["known_hosts"] = f"{platform['address']} {platform['host_key']}".encode()
    elif Path(os.path.expanduser(KNOWN_HOSTS)).is_file():
        options["known_hosts"] = os.path.expanduser(KNOWN_HOSTS)
    return options


def explain(error: BaseException, platform: dict[str, Any], client: Client, *, said: str) -> Failure:
    """Return which step an exception of asyncssh belongs to, and why."""
    if isinstance(error, asyncssh.PermissionDenied):
        state = certificate_state(platform["key_file"])[0]
        offered = ", ".join(dict.fromkeys(client.methods))
        return Failure("login", state if state.startswith("certificate-") else "permission-denied", offered)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        known = is_known(platform)
        return Failure("host_key", "host-key-changed" if known else "host-key-unknown", client.shown)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        # Asked for the pinned kind of key only, a server that has other kinds offers nothing.
        wrong_kind = "host key" in str(error) and is_known(platform)
        return Failure("host_key", "host-key-changed") if wrong_kind else Failure("port", "no-agreement", str(error))
    if said:
        return Failure("port", "jump-failed", said)
    if isinstance(error, TimeoutError):
        return Failure(client.stage(), "timeout")
    if isinstance(error, asyncssh.DisconnectError):
        # A server without the pinned kind of key may also hang up before it says so.
        return Failure(client.stage(), "not-ssh" if client.stage() == "port" else "closed", str(error))
    return Failure("login", "failed", str(error))


def is_known(platform: dict[str, Any]) -> bool:
    """Say whether any key of this host is pinned."""
    if platform["host_key"]:
        return True
    try:
        port = None if platform["port"] == 22 else platform["port"]
        found = asyncssh.match_known_hosts(os.path.expanduser(KNOWN_HOSTS), platform["address"], "", port)
    except (OSError, ValueError):
        return False
    return bool(found[0])


async def ask_everything(
    connection: asyncssh.SSHClientConnection, platform: dict[str, Any], timeout: float, result: Result
) -> None:
    """Ask for the shell, the scratch folder and the scheduler; each has its own answer."""
    if platform["type"] == "sftp":
        questions: list[tuple[str, Callable[[], Awaitable[list[str]]]]] = [("shell", lambda: ask_sftp(connection))]
    else:
        questions = [("shell", lambda: ask_shell(connection))]
        if platform["scratch"]:
            questions.append(("scratch", lambda: ask_scratch(connection, platform["scratch"])))
        if platform["scheduler"] == "slurm":
            questions.append(("scheduler", lambda: ask_slurm(connection)))
    for step, question in questions:
        try:
            result[step] = await asyncio.wait_for(question(), timeout)
        except TimeoutError:
            result[step] = ["timeout", ""]
        except (OSError, asyncssh.Error) as error:
            result[step] = ["failed", one_line(str(error))]
        if step == "shell" and result[step][0] != "ok":
            return


async def ask_sftp(connection: asyncssh.SSHClientConnection) -> list[str]:
    """Open the file transfer that a platform of type sftp is for."""
    async with connection.start_sftp_client() as sftp:
        await sftp.getcwd()
    return ["ok", "sftp"]


async def ask_shell(connection: asyncssh.SSHClientConnection) -> list[str]:
    """Run a command; greetings around its answer do no harm."""
    code, answer, said = await run(connection, f"echo {MARK}shell")
    return ["ok", ""] if answer == "shell" else ["no-shell", said or f"ended with code {code}"]


async def ask_scratch(connection: asyncssh.SSHClientConnection, folder: str) -> list[str]:
    """Write a small file of our own and remove it."""
    script = (
        f'umask 077; file=$(mktemp {quoted(folder)}/.windrose-XXXXXXXX) && echo windrose > "$file"'
        f' && rm -f "$file" && echo {MARK}written'
    )
    _, answer, said = await run(connection, f"bash -lc {shlex.quote(script)}")
    return ["ok", ""] if answer == "written" else ["not-writable", said]


async def ask_slurm(connection: asyncssh.SSHClientConnection) -> list[str]:
    """Ask Slurm for its version, through a login shell: that is where sites put it on the path."""
    script = f"version=$(sinfo --version) && echo {MARK}$version"
    _, answer, said = await run(connection, f"bash -lc {shlex.quote(script)}")
    return ["ok", answer] if answer else ["no-scheduler", said]


def quoted(folder: str) -> str:
    """Quote a folder for the shell there; its own variables ($USER, ${SCRATCH}) and ~ keep their meaning."""
    start = '"$HOME"' if folder == "~" or folder.startswith("~/") else ""
    parts = VARIABLE.split(folder[1:] if start else folder)
    return start + "".join(f'"{part}"' if VARIABLE.fullmatch(part) else shlex.quote(part) for part in parts if part)


async def run(connection: asyncssh.SSHClientConnection, command: str) -> tuple[int | None, str, str]:
    """Return the exit code, what stands behind our mark, and the last line of the complaints."""
    async with connection.create_process(command, stdin=asyncssh.DEVNULL, encoding=None) as process:
        output, complaints = await asyncio.gather(read_some(process.stdout), read_some(process.stderr))
        if len(output) < MOST_OUTPUT and len(complaints) < MOST_OUTPUT:
            await process.wait()
        code = process.exit_status
        process.close()
    marked = [line.partition(MARK)[2] for line in output.splitlines() if MARK in line]
    last = [line for line in complaints.splitlines() if line.strip()]
    return code, one_line(marked[-1]) if marked else "", one_line(last[-1]) if last else ""


async def read_some(stream: asyncssh.SSHReader[bytes]) -> str:
    """Read to the end, or as much as we are ready to hold."""
    data = b""
    while len(data) < MOST_OUTPUT and (part := await stream.read(4096)):
        data += part
    return data.decode(errors="replace")


def one_line(text: str) -> str:
    """Return text that cannot disturb a terminal or a log."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()[:LONGEST_DETAIL]


async def open_way(command: list[str]) -> tuple[socket.socket, asyncio.subprocess.Process]:
    """Start the command that opens the way; asyncssh itself would take its complaints for the server's words."""
    ours, theirs = socket.socketpair()
    try:
        end = theirs.fileno()
        process = await asyncio.create_subprocess_exec(*command, stdin=end, stdout=end, stderr=subprocess.PIPE)
    finally:
        theirs.close()
    ours.setblocking(False)
    return ours, process


async def end_way(process: asyncio.subprocess.Process) -> str:
    """End the command on the way; return the last line that it said."""
    said = b""
    try:
        if process.stderr:
            said = await asyncio.wait_for(process.stderr.read(4096), LAST_WORDS)
    except TimeoutError:
        pass
    if process.returncode is None:
        process.kill()
    await process.wait()
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


def certificate_state(key_file: str) -> list[str]:
    """Return how long the certificate beside a key is good: ["ok", hours], ["-", ""] where there is none."""
    if not key_file or not Path(f"{key_file}-cert.pub").is_file():
        return ["-", ""]
    try:
        certificate = asyncssh.read_certificate(f"{key_file}-cert.pub")
        # asyncssh has no public word for these; a test looks after them.
        after, before = certificate._valid_after, certificate._valid_before  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return ["certificate-damaged", ""]
    now = time.time()
    if now < after:
        return ["certificate-not-yet-valid", hours(after - now)]
    if now >= before:
        return ["certificate-expired", hours(now - before)]
    return ["ok", "no end" if before >= 2**63 else hours(before - now)]


def hours(seconds: float) -> str:
    """Return a length of time as people say it."""
    return f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(try_all(json.load(sys.stdin)))) + "\n")
