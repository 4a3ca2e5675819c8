"""The DAGs for platforms, on real servers: what is checked, copied, broken and gone on with, run and killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from windrose.transfer import File, passing_name

from tests.engine_support import Stack, eventually
from tests.platform_support import PlatformFile
from tests.ssh_support import USER, KeyMaker, Server, Servers, public

AIRFLOW_UID = 50000
HOME = f"/srv/{USER}"
LARGE = 60_000_000
ENOUGH = 2_000_000  # has arrived when the connection breaks
# A connection that breaks, when a line comes in: what serves the person's logins dies, the server itself lives.
BREAK = """
import os, pathlib, signal
input()
for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        words = place.read_bytes().replace(b"\\0", b" ")
        if words.startswith(b"sshd") and b"researcher" in words and b"listener" not in words:
            os.kill(int(place.parent.name), signal.SIGKILL)
    except OSError:  # it has ended since it was listed
        continue
"""
Runs = dict[str, str]


@pytest.fixture(scope="module")
def east(servers: Servers, keys: KeyMaker) -> Server:
    """A server with files on it."""
    server = servers.start("ssh-east", keys=(public(keys.make("copier")),))
    script = f"""
        mkdir {HOME}/results && cd {HOME}/results && head -c 300000 /dev/urandom > a && head -c 5 /dev/urandom > b
        head -c 100000 /dev/urandom > {HOME}/spoilt
        chown -R {USER} {HOME}
    """
    server.exec("sh", "-c", script)
    return server


@pytest.fixture(scope="module")
def shaky(servers: Servers, keys: KeyMaker) -> Server:
    """A server whose connection is going to break."""
    server = servers.start("ssh-shaky", keys=(public(keys.make("copier")),))
    server.exec("sh", "-c", f"head -c {LARGE} /dev/urandom > {HOME}/large && chown {USER} {HOME}/large")
    return server


@pytest.fixture(scope="module")
def west(servers: Servers, keys: KeyMaker) -> Server:
    """A server that takes certificates; ours is good for an hour."""
    keys.sign(keys.make("copier-signed"), keys.make("authority-of-west"), valid="-5m:+1h")
    return servers.start("ssh-west", authority=public(keys.make("authority-of-west")))


@pytest.fixture(scope="module")
def skipped(stack: Stack, platforms: PlatformFile, east: Server, west: Server, shaky: Server) -> str:
    """The path of a check without any platform."""
    platforms.content = {"variables": {"colour": "green"}}
    platforms.register()
    run = stack.trigger("platform-check")
    assert stack.result(run) == "success"
    return run


@pytest.fixture(scope="module")
def registered(stack: Stack, skipped: str, platforms: PlatformFile, servers: Servers, keys: KeyMaker) -> PlatformFile:
    """Three servers, and a web service: Airflow's own."""
    east, west, shaky = (servers.running[f"ssh-{name}"] for name in ("east", "west", "shaky"))
    platforms.start_over()
    platforms.key("copier", keys.make("copier"))
    platforms.key("copier-signed", keys.make("copier-signed"))
    platforms.server("east", east, "copier")
    platforms.server("shaky", shaky, "copier")
    platforms.server("west", west, "copier-signed")
    platforms.content["platforms"]["web"] = {
        "page": {"type": "http", "address": "http://airflow-apiserver:8080"},
        "images": {"type": "docker", "address": "registry.example.org", "user": "me", "key": "none"},
    }
    platforms.content["connections"]["docker"] = {"none": {"password": "fake-but-long-enough"}}
    platforms.register()
    return platforms


@pytest.fixture(scope="module")
def data(stack: Stack) -> Iterator[Path]:
    """A folder of data/ that tasks may write to."""
    folder = stack.folder / "data" / "copies"
    write(folder / "in" / "x" / "one.txt", b"one")
    write(folder / "in" / "two.txt", b"two")
    yield folder


def write(path: Path, content: bytes) -> None:
    """Write a file as a task would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for place in (path, *path.parents):
        if "copies" in place.parts and os.geteuid() == 0:
            os.chown(place, AIRFLOW_UID, 0)


def growing(folder: Path, name: str, server: Server) -> Path:
    """Return the file as which a copy of a server's file grows."""
    size, modified = server.exec("stat", "-c", "%s %Y", f"{HOME}/{name}").split()
    return Path(passing_name(str(folder / name), File(name, int(size), float(modified))))


def copy(stack: Stack, **form: Any) -> str:
    """Start a transfer."""
    return stack.trigger("platform-transfer", **form)


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def break_when_it_flows(part: Path, server: Server) -> int:
    """Break the connection once some of the file has arrived; return how much that was."""
    argv = ["docker", "exec", "--interactive", server.id, "python3", "-c", BREAK]
    # Started beforehand: a start may take longer than the rest of the file.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as breaking:
        eventually(lambda: size_of(part) > ENOUGH, within=90, pause=0.02)
        breaking.communicate("now\n", timeout=60)
    assert breaking.returncode == 0
    return size_of(part)


@pytest.fixture(scope="module")
def runs(stack: Stack, registered: PlatformFile, data: Path, east: Server, shaky: Server) -> Runs:
    """All that runs at the same time, ended."""
    part = growing(data, "spoilt", east)
    write(part, b"not what the file begins with")
    large = growing(data, "large", shaky)
    started: Runs = {}
    with ThreadPoolExecutor() as pool:
        arrived = pool.submit(break_when_it_flows, large, shaky)
        started["broken"] = copy(stack, source_platform="hpc-shaky", source_path="large", target_path="copies/")
        started["spoilt"] = copy(stack, source_platform="hpc-east", source_path="spoilt", target_path="copies/")
        started["there"] = copy(stack, source_path="copies/in", target_platform="hpc-west", target_path="in")
        across = {"source_platform": "hpc-east", "target_platform": "hpc-west", "streams": 4}
        started["across"] = copy(stack, source_path="results", target_path="results", **across)
        started["fine"] = stack.trigger("platform-command", platform="hpc-west", command="hostname; id -un")
        started["code"] = stack.trigger("platform-command", platform="hpc-east", command="echo so; exit 3")
        started["out"] = copy(stack, source_path="../secrets.yaml", target_platform="hpc-west", target_path="x")
        assert 0 < arrived.result() < LARGE
    # Only now: the break would have ended its login, too.
    started["checked"] = stack.trigger("platform-check", hours_left=2)
    for path in started.values():
        stack.result(path, within=180)
    return started


def sums(result: dict[str, Any]) -> dict[str, int]:
    """Return what became of the files of a transfer."""
    return {name: result[name] for name in ("copied", "resumed", "skipped", "failed") if result[name]}


def test_check_without_a_platform_is_skipped(stack: Stack, skipped: str) -> None:
    states = {name: task["state"] for name, task in stack.tasks(skipped).items()}

    assert set(states.values()) == {"skipped"}
    assert "describe one in secrets.yaml" in stack.log(skipped, "list_platforms")


def test_check_logs_in_everywhere_and_tells_of_a_certificate_before_it_ends(stack: Stack, runs: Runs) -> None:
    rows = {row["platform"]: row for row in stack.returned(runs["checked"], "table")}
    found = stack.api("GET", f"{runs['checked']}/taskInstances")["task_instances"]
    tasks = {task["rendered_map_index"]: task["state"] for task in found if task["task_id"] == "log_in"}

    assert stack.state(runs["checked"]) == "failed"
    assert {name: row["state"] for name, row in rows.items()} == {
        "hpc-east": "ok",
        "hpc-shaky": "ok",
        "hpc-west": "expiring",
        "web-page": "ok",
        "web-images": "skipped",
    }
    states = {"ok": "success", "expiring": "failed", "skipped": "skipped"}
    assert tasks == {name: states[row["state"]] for name, row in rows.items()}
    assert "hpc-west: the certificate is good until" in stack.log(runs["checked"], "table")
    assert "sign a new one and save it beside the key" in rows["hpc-west"]["says"]


def test_folder_is_copied_and_the_second_time_skipped(stack: Stack, runs: Runs, west: Server) -> None:
    again = copy(stack, source_path="copies/in", target_platform="hpc-west", target_path="in")
    first = stack.returned(runs["there"], "transfer")

    assert (stack.result(again), sums(first)) == ("success", {"copied": 2})
    assert west.exec("cat", f"{HOME}/in/x/one.txt", f"{HOME}/in/two.txt") == "onetwo"
    assert sums(stack.returned(again, "transfer")) == {"skipped": 2}
    assert {row["checked"] for row in first["rows"]} == {"sha256"}


def test_files_go_from_platform_to_platform(stack: Stack, runs: Runs, east: Server, west: Server) -> None:
    command = ("sh", "-c", f"cd {HOME}/results && sha256sum * && stat -c %Y *")

    assert sums(stack.returned(runs["across"], "transfer")) == {"copied": 2}
    assert east.exec(*command) == west.exec(*command)


def test_broken_transfer_goes_on_where_it_stopped(stack: Stack, runs: Runs, data: Path, shaky: Server) -> None:
    result = stack.returned(runs["broken"], "transfer")
    expected = shaky.exec("sha256sum", f"{HOME}/large").split()[0]

    assert (stack.state(runs["broken"]), stack.tasks(runs["broken"])["transfer"]["try_number"] > 1) == ("success", True)
    assert (sums(result), 0 < result["bytes"] < LARGE - ENOUGH) == ({"resumed": 1}, True)
    assert (result["rows"][0]["sha256"], file_digest(data / "large")) == (expected, expected)
    assert sorted(path.name for path in data.iterdir()) == ["in", "large", "spoilt"]


def file_digest(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_wrong_content_is_found_by_its_checksum_and_copied_anew(
    stack: Stack, runs: Runs, data: Path, east: Server
) -> None:
    assert "spoilt has another checksum at the target" in stack.log(runs["spoilt"], "transfer")
    assert (stack.state(runs["spoilt"]), sums(stack.returned(runs["spoilt"], "transfer"))) == ("success", {"copied": 1})
    assert file_digest(data / "spoilt") == east.exec("sha256sum", f"{HOME}/spoilt").split()[0]


def test_path_out_of_data_is_refused(stack: Stack, runs: Runs) -> None:
    assert stack.state(runs["out"]) == "failed"
    assert "../secrets.yaml leads out of data/" in stack.log(runs["out"], "transfer")


def test_command_ends_as_it_ended_over_there(stack: Stack, runs: Runs) -> None:
    fine, code = (stack.returned(runs[name], "run_command") for name in ("fine", "code"))

    assert (stack.state(runs["fine"]), fine["last_lines"]) == ("success", ["ssh-west", USER])
    assert (stack.state(runs["code"]), code["exit_code"], code["last_lines"]) == ("failed", 3, ["so"])
    assert "[remote] so" in stack.log(runs["code"], "run_command")
    assert "the command ended with code 3 on hpc-east" in stack.log(runs["code"], "run_command")


def test_command_ends_when_its_task_is_stopped(stack: Stack, runs: Runs, east: Server) -> None:
    run = stack.trigger("platform-command", platform="hpc-east", command="echo $$ > pid; sleep 600 & wait")
    alive = ("sh", "-c", f"test -s {HOME}/pid && kill -0 $(cat {HOME}/pid) && echo alive || true")
    eventually(lambda: "alive" in east.exec(*alive), within=40, pause=0.2)

    stack.api("PATCH", f"{run}/taskInstances/run_command", {"new_state": "failed"})

    begun = time.monotonic()
    eventually(lambda: "alive" not in east.exec(*alive), within=30, pause=0.2)
    print(f"the command ended {time.monotonic() - begun:.1f} s after its task was stopped")
    assert east.exec("sh", "-c", "grep -l '^sleep' /proc/[0-9]*/cmdline 2>/dev/null || true") == ""
