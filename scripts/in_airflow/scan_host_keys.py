"""Which host keys does each machine show? Asked from where tasks run, because that is who must find the same ones.

JSON on stdin: {"hosts": [{"id", "address", "port", "proxy": [command to get there], or []}], "timeout": seconds}
JSON on stdout: {"<id>": {"addresses": {"192.0.2.1": ["ssh-ed25519 AAAA..."]}, "silent": {"<ip>": why}, "error": ""}}
Behind a jump host the name means what it means there, so there is one address: the name itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from typing import Any

import asyncssh

# One question a kind: a server shows one key a connection, of the best kind that it is asked for.
ALGORITHMS = (
    ["ssh-ed25519"],
    ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
    ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
)
AT_ONCE = 10  # addresses asked at the same time
MOST_ADDRESSES = 16
LONGEST_REASON = 300
LAST_WORDS = 1.0  # seconds for a command that fails to say why


async def scan(request: dict[str, Any]) -> dict[str, Any]:
    """Ask all hosts; return what each shows or why it does not."""
    places = asyncio.Semaphore(AT_ONCE)
    hosts = request["hosts"]
    answers = await asyncio.gather(*(scan_host(host, float(request["timeout"]), places) for host in hosts))
    return {host["id"]: answer for host, answer in zip(hosts, answers, strict=True)}


async def scan_host(host: dict[str, Any], timeout: float, places: asyncio.Semaphore) -> dict[str, Any]:
    """Ask every address of one host."""
    answer: dict[str, Any] = {"addresses": {}, "silent": {}, "error": ""}
    try:
        addresses = [host["address"]] if host["proxy"] else await resolve(host["address"], host["port"], timeout)
    except (OSError, TimeoutError) as error:
        return {**answer, "error": reason(error)}
    results = await asyncio.gather(*(scan_address(address, host, timeout, places) for address in addresses))
    for address, (keys, problem) in zip(addresses, results, strict=True):
        if keys:
            answer["addresses"][address] = keys
        else:
            answer["silent"][address] = problem
    if not answer["addresses"]:
        answer["error"] = next(iter(answer["silent"].values()))
    return answer


async def resolve(name: str, port: int, timeout: float) -> list[str]:
    """Return every address of a name, each once."""
    loop = asyncio.get_running_loop()
    found = await asyncio.wait_for(loop.getaddrinfo(name, port, type=socket.SOCK_STREAM), timeout)
    return [str(address) for address in dict.fromkeys(entry[4][0] for entry in found)][:MOST_ADDRESSES]


async def scan_address(
    address: str, host: dict[str, Any], timeout: float, places: asyncio.Semaphore
) -> tuple[list[str], str]:
    """Ask one address for a key of each kind; return them, or the first reason why there is none."""
    async with places:
        if host["proxy"]:
            # One after the other: each is a login at the jump host.
            results = [await ask(address, host, names, timeout) for names in ALGORITHMS]
        else:
            results = await asyncio.gather(*(ask(address, host, names, timeout) for names in ALGORITHMS))
    keys = [key for key, _ in results if key]
    problems = [problem for _, problem in results if problem]
    return keys, problems[0] if problems else "shows no ed25519, ecdsa or rsa key"


async def ask(address: str, host: dict[str, Any], algorithms: list[str], timeout: float) -> tuple[str, str]:
    """Return one host key as `type base64`, or why there is none; ('', '') where the server has none of the kind."""
    way = await open_way(host["proxy"]) if host["proxy"] else None
    said = ""
    try:
        question = asyncssh.get_server_host_key(
            address, host["port"], sock=way[0] if way else None, server_host_key_algs=algorithms, config=None
        )
        key = await asyncio.wait_for(question, timeout)
        return (" ".join(key.export_public_key().decode().split()[:2]), "") if key else ("", "")
    except asyncssh.KeyExchangeFailed as error:
        return "", "" if "host key" in str(error) else reason(error)
    except (OSError, TimeoutError, asyncssh.Error) as error:
        said = await end_way(way[1]) if way else ""
        return "", reason(error, jump=said)
    finally:
        if way:
            way[0].close()
            await end_way(way[1])


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
    lines = said.decode(errors="replace").split("\n")
    return next((line.strip()[:LONGEST_REASON] for line in reversed(lines) if line.strip()), "")


def reason(error: BaseException, *, jump: str = "") -> str:
    """Say in a few words why nothing came back."""
    if jump:
        return f"the way over the jump host does not open ({jump})"
    if isinstance(error, socket.gaierror):
        return "the name is not found"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError | asyncssh.ConnectionLost):
        return "what answers is no SSH server, or takes nobody just now"
    if isinstance(error, OSError):
        return (error.strerror or str(error))[:LONGEST_REASON]
    return str(error)[:LONGEST_REASON]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(scan(json.load(sys.stdin)))) + "\n")
