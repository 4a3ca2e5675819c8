"""The calls that the small FirecREST of tests/firecrest_server.py answers, one function a call."""

from __future__ import annotations

import base64
import re
import secrets
import shlex
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

from tests.firecrest_state import HTTP_ERRORS, LARGEST, MAX_PART, SYSTEM, Said, State

if TYPE_CHECKING:
    from tests.firecrest_server import Handler

COLUMNS = "%i|%D|%a|%j|%N|%P|%T|%r|%M|%u"
FORMAT = "JobID,AllocNodes,Account,JobName%250,NodeList%200,Partition,State%40,Reason,ElapsedRaw,User,ExitCode"


def described(state: State) -> dict[str, Any]:
    """Return what the API says of the system."""
    return {
        "name": SYSTEM,
        "scheduler": {"type": "slurm", "version": "24.11.0"},
        "servicesHealth": [{"serviceType": "scheduler", "healthy": True}],
        "fileSystems": [
            {"path": mount, "dataType": "users", "defaultWorkDir": number == 0}
            for number, mount in enumerate(state.mounts)
        ],
        "dataOperation": {"max_ops_file_size": LARGEST, "data_transfer": {"service_type": "s3", "name": "store"}},
    }


def userinfo(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Say who the token's owner is there."""
    name = request.server.state.user or request.command_on("id -un").decode().strip()
    return 200, {"user": {"id": "1", "name": name}, "group": {"id": "1", "name": name}, "groups": [], "accounts": []}


def submit(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Run sbatch, as the real server calls it."""
    job = request.json()["job"]
    folder = job.get("workingDirectory") or job.get("working_directory")
    # The real server adds a variable of its own to --export. Slurm then loads the login's environment on the node, for
    # which slurmd wants a privilege (CAP_SYS_ADMIN) that the tests' cluster does not have, and ends without it.
    words = ["sbatch", "--export=ALL", f"--chdir={folder}"]
    words += [f"--{name}={job[name]}" for name in ("partition", "account", "reservation") if job.get(name)]
    path = job.get("scriptPath") or job.get("script_path")
    line = shlex.join([*words, "--", path] if path else words)
    done = request.server.state.shell.run(line, (job.get("script") or "").encode())
    if done.code != 0:
        if re.search(r"\b(?:QOS|Assoc)(?:Max|Min)\w*Limit\b", done.err):
            says = f"Job submission rejected: accounting/QOS policy limit exceeded. {done.err.strip()}"
            raise Said(403, says)
        raise Said(500, f"Unexpected Slurm command response. exit_status:{done.code} std_err:{done.err}")
    found = re.search(rb"Submitted batch job (\d+)", done.out)
    if not found:
        raise Said(500, "Unable to submit new job")
    return 201, {"jobId": found[1].decode()}


def slurm(request: Handler, command: str) -> list[list[str]]:
    """Run a command of Slurm; return its rows."""
    done = request.server.state.shell.run(command)
    if done.code == 1 and "Invalid job id specified" in done.err:
        return []
    if done.code != 0:
        says = f"Unexpected Slurm command response. exit_status:{done.code} std_err:{done.err}"
        raise Said(500, f"Error executing Slurm command. {says}")
    return [line.split("|") for line in done.out.decode(errors="replace").splitlines() if line.count("|") >= 9]


def rows_of(request: Handler, which: str) -> list[dict[str, Any]]:
    """Return jobs, from accounting first, from the queue where it knows more."""
    jobs: dict[str, dict[str, Any]] = {}
    since = {"1h": "now-1hour", "3d": "now-3days", "7d": "now-7days"}.get(request.query.get("time_window", ""), "")
    window = f"--jobs={which}" if which else f"--starttime={since or 'now-24hours'}"
    for words in slurm(request, f"sacct {window} --parsable2 --noheader --format={FORMAT}"):
        if "." not in words[0]:
            jobs[words[0]] = job_of(words[:6] + words[6:10], words[10])
    queue = f" --jobs={which}" if which else ""
    for words in slurm(request, f"squeue --user=$(id -un) --noheader{queue} --format={shlex.quote(COLUMNS)}"):
        if words[0] not in jobs or words[6] == "PENDING":
            jobs[words[0]] = job_of(words, "")
    name = request.query.get("name")
    return [job for job in jobs.values() if not name or job["name"] == name]


def job_of(words: list[str], code: str) -> dict[str, Any]:
    """Return a job as the API words it."""
    number, count, account, name, nodes, partition, state, reason, elapsed, user = words[:10]
    exit_code, _, signal = code.partition(":")
    return {
        "jobId": number,
        "name": name,
        "status": {
            "state": state,
            "stateReason": reason,
            "exitCode": int(exit_code) if exit_code else None,
            "interruptSignal": int(signal) if signal else None,
        },
        "time": {"elapsed": int(elapsed) if elapsed.isdigit() else None, "start": None, "end": None, "limit": None},
        "account": account,
        "allocationNodes": int(count) if count.isdigit() else 0,
        "cluster": SYSTEM,
        "nodes": nodes,
        "partition": partition,
        "killRequestUser": None,
        "user": user,
        "workingDirectory": "",
        "priority": None,
    }


def jobs_list(request: Handler, _: list[str]) -> tuple[int, Any]:
    """List jobs."""
    return 200, {"jobs": rows_of(request, "")}


def job_info(request: Handler, rest: list[str]) -> tuple[int, Any]:
    """Tell of one job."""
    moved = request.server.state.transfers.get(rest[1])
    if moved:
        return 200, {"jobs": [job_of([rest[1], "1", "", "IngressFileTransfer", "", "", moved, "", "1", ""], "0:0")]}
    if not rest[1].isalnum():
        raise Said(400, "1 validation error")
    jobs = rows_of(request, rest[1])
    if not jobs:
        raise Said(404, "Job not found.")
    return 200, {"jobs": jobs}


def job_metadata(request: Handler, rest: list[str]) -> tuple[int, Any]:
    """Tell where a job writes to."""
    done = request.server.state.shell.run(f"scontrol show -o job {rest[1]}")
    if done.code != 0:
        raise Said(404, "Job not found.")
    said = dict(re.findall(r"(\w+)=(\S*)", done.out.decode()))
    return 200, {
        "jobs": [{"jobId": rest[1], "standardOutput": said.get("StdOut"), "standardError": said.get("StdErr")}]
    }


def cancel(request: Handler, rest: list[str]) -> tuple[int, Any]:
    """Run scancel."""
    done = request.server.state.shell.run(f"scancel --verbose {shlex.quote(rest[1])}")
    if done.code != 0 or re.search(".+error:.*", done.err, re.IGNORECASE):
        raise Said(500, f"Unexpected Slurm command response. exit_status:{done.code} std_err:{done.err}")
    return 204, None


def listing(request: Handler, path: str, options: str = "") -> list[dict[str, Any]]:
    """Run ls."""
    words = f"ls -l --quoting-style=c --time-style=+%Y-%m-%dT%H:%M:%S {options} -- {shlex.quote(path)}"
    found = []
    for line in request.command_on(words).decode(errors="replace").splitlines():
        row = re.fullmatch(r'(\S)(\S+)\s+\d+\s+(\S+)\s+(\S+)\s+(\d+)\s+(\S+)\s+"(.+?)"(?: -> "(.*)")?', line)
        if row:
            keys = ("type", "permissions", "user", "group", "size", "lastModified", "name", "linkTarget")
            found.append(dict(zip(keys, row.groups(), strict=True)))
    return found


def ls(request: Handler, _: list[str]) -> tuple[int, Any]:
    """List a folder."""
    return 200, {
        "output": listing(request, request.path_of(), "-A" if request.query.get("showHidden") == "true" else "")
    }


def stat(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Tell of a file."""
    deref = "--dereference" if request.query.get("dereference") == "true" else ""
    said = request.command_on(f"stat {deref} -c '%f %i %d %h %u %g %s %X %Y %Z' -- {shlex.quote(request.path_of())}")
    mode, *numbers = said.decode().split()
    names = ("ino", "dev", "nlink", "uid", "gid", "size", "atime", "mtime", "ctime")
    return 200, {"output": {"mode": int(mode, 16), **dict(zip(names, map(int, numbers), strict=True))}}


def mkdir(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Make a folder."""
    path, parents = request.path_of(), "-p" if request.json().get("parent") else ""
    request.command_on(f"mkdir {parents} -- {shlex.quote(path)}")
    return 201, {"output": listing(request, path, "-d")[0]}


def chmod(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Change who may do what with a file."""
    said = request.json()
    path = request.path_of(said["path"])
    request.command_on(f"chmod -- {shlex.quote(said['mode'])} {shlex.quote(path)}")
    return 200, {"output": listing(request, path, "-d")[0]}


def upload(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Write a small file."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    [part] = BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts()
    data = part.get_payload(decode=True) or b""
    if len(data) > LARGEST:
        raise Said(413, "File to upload is too large.")
    target = f"{request.path_of()}/{part.get_filename()}"
    done = request.server.state.shell.run(f"base64 -d > {shlex.quote(target)}", base64.b64encode(data))
    if done.code != 0:
        found = [status for words, status in HTTP_ERRORS.items() if words in done.err]
        raise Said((found or [500])[0], f"Remote process failed with exit status:{done.code}: {done.err.strip()}")
    if not data:
        # The real server never closes the pipe of an empty file, which is there by then.
        raise Said(408, "Command execution timeout limit exceeded.")
    return 204, None


def download(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Give a small file, byte by byte."""
    data = base64.b64decode(request.command_on(f"base64 --wrap=0 -- {shlex.quote(request.path_of())}"))
    if len(data) > LARGEST:
        raise Said(413, "File to download is too large.")
    return 200, data


def view(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Give a piece of a file: two blocks are read, and cut as text."""
    size, offset = int(request.query.get("size", LARGEST)), int(request.query.get("offset", 0))
    if size > LARGEST:
        raise Said(400, f"`size` value must be less than {LARGEST} bytes")
    path = shlex.quote(request.path_of())
    said = request.command_on(f"dd if={path} bs={size} skip={offset // size} count=2").decode("utf-8", "replace")
    return 200, {"output": said[offset % size : offset % size + size]}


def end_of_file(program: str, skip: str) -> Callable[[Handler, list[str]], tuple[int, Any]]:
    """Return a call that gives the begin or the end of a file."""

    def call(request: Handler, _: list[str]) -> tuple[int, Any]:
        options = ""
        rest = request.query.get({"tail": "skipHeading", "head": "skipTrailing"}[program]) == "true"
        for name in ("bytes", "lines"):
            if request.query.get(name):
                options += f" --{name}={skip if rest else ''}{int(request.query[name])}"
        out = request.command_on(f"{program}{options} -- {shlex.quote(request.path_of())}")
        if len(out) >= LARGEST:
            raise Said(413, "Command output exceeded buffer limit.")
        return 200, {"output": {"content": out.decode("utf-8", "replace"), "contentType": "bytes"}}

    return call


def checksum(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Give a file's SHA-256."""
    said = request.command_on(f"sha256sum -- {shlex.quote(request.path_of())}").decode()
    return 200, {"output": {"algorithm": "SHA256", "checksum": said.split()[0]}}


def rm(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Delete a file or a folder."""
    request.command_on(f"rm -r --interactive=never -- {shlex.quote(request.path_of())}")
    return 204, None


def transfer(request: Handler, key: str, state: str, directives: dict[str, Any]) -> tuple[int, Any]:
    """Return a transfer as the API words it."""
    request.server.state.transfers[key] = state
    log = {"outputLog": "/dev/null", "errorLog": "/dev/null"}
    job = {"jobId": key, "system": SYSTEM, "workingDirectory": "/", "logs": log}
    return 201, {"transferJob": job, "transferDirectives": {"transfer_method": "s3", **directives}}


def wants_s3(request: Handler) -> dict[str, Any]:
    """Return what a transfer asks for; refuse a way that there is not."""
    said = request.json()
    wanted = said.get("transfer_directives") or said.get("transferDirectives") or {}
    if (wanted.get("transfer_method") or wanted.get("transferMethod")) != "s3":
        raise Said(400, "Requested transfer method is not available.")
    return wanted


def transfer_upload(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Begin to take a large file."""
    wanted, path = wants_s3(request), request.path_of()
    size = int(wanted.get("file_size") or wanted.get("fileSize"))
    key, state = secrets.token_hex(8), request.server.state
    state.objects[key], state.waiting[key] = {}, path
    base = f"{request.server.url}/s3/{key}"
    urls = [f"{base}/{number + 1}" for number in range(-(-size // MAX_PART))]
    directives = {"partsUploadUrls": urls, "completeUploadUrl": base, "maxPartSize": MAX_PART}
    return transfer(request, key, "RUNNING", directives)


def transfer_download(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Begin to give a large file."""
    wants_s3(request)
    key, path = secrets.token_hex(8), request.path_of()
    data = base64.b64decode(request.command_on(f"base64 --wrap=0 -- {shlex.quote(path)}"))
    request.server.state.objects[key] = {1: data}
    return transfer(request, key, "COMPLETED", {"downloadUrl": f"{request.server.url}/s3/{key}"})


def transfer_mv(request: Handler, _: list[str]) -> tuple[int, Any]:
    """Rename a file; the real server submits a batch job for it."""
    source, target = request.path_of(), request.path_of(request.json()["targetPath"])
    request.command_on(f"mv -- {shlex.quote(source)} {shlex.quote(target)}")
    return transfer(request, secrets.token_hex(8), "COMPLETED", {})


CALLS: dict[tuple[str, str, str], Callable[[Handler, list[str]], tuple[int, Any]]] = {
    ("GET", "status", "userinfo"): userinfo,
    ("POST", "compute", "jobs"): submit,
    ("GET", "compute", "jobs"): jobs_list,
    ("GET", "compute", "jobs/id"): job_info,
    ("GET", "compute", "jobs/id/metadata"): job_metadata,
    ("DELETE", "compute", "jobs/id"): cancel,
    ("GET", "filesystem", "ops/ls"): ls,
    ("GET", "filesystem", "ops/stat"): stat,
    ("GET", "filesystem", "ops/head"): end_of_file("head", "-"),
    ("GET", "filesystem", "ops/tail"): end_of_file("tail", "+"),
    ("GET", "filesystem", "ops/view"): view,
    ("GET", "filesystem", "ops/download"): download,
    ("GET", "filesystem", "ops/checksum"): checksum,
    ("POST", "filesystem", "ops/mkdir"): mkdir,
    ("PUT", "filesystem", "ops/chmod"): chmod,
    ("POST", "filesystem", "ops/upload"): upload,
    ("DELETE", "filesystem", "ops/rm"): rm,
    ("POST", "filesystem", "transfer/upload"): transfer_upload,
    ("POST", "filesystem", "transfer/download"): transfer_download,
    ("POST", "filesystem", "transfer/mv"): transfer_mv,
}
