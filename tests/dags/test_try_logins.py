"""Does a trial login tell apart what can go wrong?"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from scripts.in_airflow import try_logins
from tests.engine_support import eventually
from tests.ssh_site import FORWARD, PASSWORD, Site, free_port, public


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    built = Site(tmp_path_factory.mktemp("site"))
    yield built
    built.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, agent and configuration of whoever runs this."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def login(site: Site, **changes: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "type": "ssh",
        "address": "127.0.0.1",
        "port": site.ports["ssh"],
        "user": "maija",
        "password": None,
        "key_file": str(site.folder / "key"),
        "host_key": public(site.host_key),
        "check_host_key": True,
        "scratch": "",
        "scheduler": "",
        "proxy": [],
        "door": "127.0.0.1",
        **changes,
    }


def tried(
    *platforms: dict[str, Any], endpoints: tuple[dict[str, Any], ...] = (), timeout: float = 20
) -> dict[str, Any]:
    """Return the steps that were taken."""
    request = {"platforms": platforms, "endpoints": endpoints, "timeout": timeout, "parallel": 10}
    results = asyncio.run(try_logins.try_all(request))
    return {
        name: {step: tuple(state) for step, state in steps.items() if state != ["-", ""]}
        for name, steps in results.items()
    }


def way_in(site: Site, host_key: tuple[str, str] = ("ok", "")) -> dict[str, tuple[str, str]]:
    return {"name": ("ok", "127.0.0.1"), "port": ("ok", str(site.ports["ssh"])), "host_key": host_key}


def test_login_with_a_key_works(site):
    result = tried(login(site))["x"]

    assert result == {**way_in(site), "login": ("ok", ""), "shell": ("ok", "")}


def test_login_with_a_password_works(site):
    result = tried(login(site, key_file="", password=PASSWORD))["x"]

    assert (result["login"], result["shell"]) == (("ok", ""), ("ok", ""))


def test_login_over_another_machine_works(site):
    proxy = [sys.executable, "-c", FORWARD, str(site.ports["ssh"])]

    result = tried(login(site, address="only.known.there", proxy=proxy))["x"]

    way = {step: state for step, state in way_in(site).items() if step != "name"}
    assert result == {**way, "login": ("ok", ""), "shell": ("ok", "")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"key_file": "other"}, "publickey, password", id="unknown key"),
        pytest.param({"key_file": "", "password": "wrong"}, "publickey, password", id="wrong password"),
    ],
)
def test_denied_login_tells_what_the_server_takes(site, changes, expected):
    site.new_key("other")
    if changes["key_file"]:
        changes = {**changes, "key_file": str(site.folder / changes["key_file"])}

    assert tried(login(site, **changes))["x"] == {**way_in(site), "login": ("permission-denied", expected)}


def test_passphrase_protected_key_is_locked_and_nobody_is_asked(site):
    site.new_key("encrypted", phrase="sesame")

    result = tried(login(site, key_file=str(site.folder / "encrypted")))["x"]

    way = {step: state for step, state in way_in(site).items() if step != "host_key"}
    assert result == {**way, "login": ("key-locked", "")}


@pytest.mark.parametrize(("content", "code"), [(None, "key-missing"), ("no key\n", "key-unusable")])
def test_key_that_cannot_be_used_is_told(site, tmp_path, content, code):
    if content is not None:
        (tmp_path / "odd").write_text(content)

    assert tried(login(site, key_file=str(tmp_path / "odd")))["x"]["login"] == (code, "")


def test_valid_certificate_logs_in_and_tells_its_hours(site):
    now = time.time()
    result = tried(login(site, key_file=site.new_certificate("fresh", after=now - 60, before=now + 7 * 3600 - 30)))["x"]

    assert (result["login"], result["certificate"]) == (("ok", ""), ("ok", "7.0 h"))


@pytest.mark.parametrize(
    ("after", "before", "code", "hours"),
    [
        pytest.param(-9, -3, "certificate-expired", "3.0 h", id="expired"),
        pytest.param(3, 9, "certificate-not-yet-valid", "3.0 h", id="of the future"),
    ],
)
def test_certificate_out_of_its_time_is_the_reason(site, after, before, code, hours):
    now = time.time()
    key_file = site.new_certificate("stale", after=now + after * 3600, before=now + before * 3600)

    result = tried(login(site, key_file=key_file))["x"]

    assert result == {**way_in(site), "login": (code, "publickey, password"), "certificate": (code, hours)}


def test_damaged_certificate_is_told(site):
    site.new_key("damaged")
    (site.folder / "damaged-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")

    assert tried(login(site, key_file=str(site.folder / "damaged")))["x"]["certificate"] == ("certificate-damaged", "")


def test_certificate_without_an_end_says_so(site):
    key_file = site.new_certificate("endless", after=0, before=2**64 - 1)

    assert tried(login(site, key_file=key_file))["x"]["certificate"] == ("ok", "no end")


def test_unknown_host_key_is_shown_and_refused(site):
    result = tried(login(site, host_key=""))["x"]

    shown = result["host_key"][1]
    assert result == way_in(site, ("host-key-unknown", shown))
    assert shown in (site.host_key.get_fingerprint(), site.rsa_key.get_fingerprint())


@pytest.mark.parametrize("port_in_file", [True, False])
def test_host_key_in_known_hosts_is_enough(site, home, port_in_file):
    name = f"[127.0.0.1]:{site.ports['ssh']}" if port_in_file else "127.0.0.1"
    (home / ".ssh" / "known_hosts").write_text(f"{name} {public(site.rsa_key)}\n")

    assert tried(login(site, host_key=""))["x"]["login"] == ("ok", "")


def test_changed_host_key_is_told_apart_from_an_unknown_one(site, home):
    other = asyncssh.generate_private_key("ssh-ed25519")
    stated = tried(login(site, host_key=public(other)))["x"]
    (home / ".ssh" / "known_hosts").write_text(f"127.0.0.1 {public(other)}\n")
    pinned = tried(login(site, host_key=""))["x"]

    assert [stated, pinned] == [way_in(site, ("host-key-changed", site.host_key.get_fingerprint()))] * 2


def test_pinned_kind_that_the_server_has_no_more_is_a_change(site):
    ecdsa = asyncssh.generate_private_key("ecdsa-sha2-nistp256")

    # The server hangs up; whether its reason arrives first is a matter of chance.
    assert tried(login(site, host_key=public(ecdsa)))["x"]["host_key"][0] in ("host-key-changed", "closed")


def test_host_key_that_is_not_checked_is_said(site):
    result = tried(login(site, host_key="", check_host_key=False))["x"]

    assert (result["host_key"], result["login"]) == (("not-checked", ""), ("ok", ""))


@pytest.mark.parametrize(("port", "code"), [("web", "not-ssh"), ("silent", "timeout"), ("", "refused")])
def test_port_without_an_ssh_server_is_told(site, port, code):
    way = login(site, port=site.ports.get(port) or free_port())

    result = tried(way, timeout=2 if port == "silent" else 20)["x"]

    assert (result["port"][0], set(result)) == (code, {"name", "port"})


def test_unknown_name_is_told(site):
    assert tried(login(site, address="name.invalid"))["x"] == {"name": ("name-not-found", "")}


def test_way_that_does_not_open_is_told_with_its_reason(site):
    proxy = ["sh", "-c", "echo maija@gate: Permission denied. >&2; exit 255"]

    assert tried(login(site, proxy=proxy))["x"] == {"port": ("jump-failed", "maija@gate: Permission denied.")}


def test_scratch_is_written_and_left_empty(site, tmp_path):
    folder = tmp_path / "a folder 'quoted' $(false)"
    folder.mkdir()

    result = tried(login(site, scratch=str(folder)))["x"]

    assert (result["scratch"], list(folder.iterdir())) == (("ok", ""), [])


def test_scratch_that_cannot_be_written_is_told_with_the_reason(site, tmp_path):
    state, detail = tried(login(site, scratch=str(tmp_path / "absent")))["x"]["scratch"]

    assert (state, "No such file or directory" in detail) == ("not-writable", True)


@pytest.mark.parametrize("scratch", ["~/mine", "$SITE_SCRATCH/mine", "${SITE_SCRATCH}/mine"])
def test_variables_of_the_login_there_keep_their_meaning(site, scratch):
    (site.home / "mine").mkdir()

    result = tried(login(site, scratch=scratch))["x"]
    (site.home / "mine").rmdir()

    assert result["scratch"] == ("ok", "")


@pytest.mark.parametrize("scratch", ["/tmp/`touch {0}`", "/tmp/$(touch {0})", "/tmp;touch {0};", "/tmp' ; touch {0} '"])
def test_scratch_runs_no_command(site, tmp_path, scratch):
    result = tried(login(site, scratch=scratch.format(tmp_path / "made")))["x"]

    assert (result["scratch"][0], (tmp_path / "made").exists()) == ("not-writable", False)


def test_slurm_is_found_where_the_profile_puts_it(site):
    (site.home / "bin").mkdir()
    program = site.home / "bin" / "sinfo"
    program.write_text("#!/bin/sh\necho slurm 24.05.3\n")
    program.chmod(0o755)
    present = tried(login(site, scheduler="slurm"))["x"]
    shutil.rmtree(site.home / "bin")

    absent = tried(login(site, scheduler="slurm"))["x"]

    assert (present["scheduler"], absent["scheduler"][0]) == (("ok", "slurm 24.05.3"), "no-scheduler")


def test_platform_for_files_needs_no_shell(site):
    assert tried(login(site, type="sftp", scratch="/anywhere", scheduler="slurm"))["x"] == {
        **way_in(site),
        "login": ("ok", ""),
        "shell": ("ok", "sftp"),
    }


def test_endless_answer_is_cut_short(site):
    async def ask() -> tuple[int | None, str, str]:
        options = {"username": "maija", "client_keys": str(site.folder / "key"), "known_hosts": None}
        async with asyncssh.connect("127.0.0.1", site.ports["ssh"], **options) as connection:
            return await try_logins.run(connection, "head -c 1000000 /dev/zero | tr '\\0' x; echo windrose-answer:late")

    assert asyncio.run(ask())[1:] == ("", "")


def test_answer_cannot_disturb_the_terminal():
    assert try_logins.one_line("\x1b[2J\x07red\nline\t" + "x" * 500) == "[2J red line " + "x" * 187


def test_endpoints_are_knocked_at_only(site):
    endpoints = (
        {"id": "db", "address": "127.0.0.1", "port": site.ports["web"]},
        {"id": "no", "address": "127.0.0.1", "port": free_port()},
    )

    assert tried(endpoints=endpoints) == {
        "db": {"name": ("ok", "127.0.0.1"), "port": ("ok", str(site.ports["web"]))},
        "no": {"name": ("ok", "127.0.0.1"), "port": ("refused", "")},
    }


def test_one_door_sees_one_login_at_a_time(site):
    eventually(lambda: site.at_once == 0, within=10, pause=0.05)  # those of other tests have left
    site.most_at_once = 0

    results = tried(*(login(site, id=str(number)) for number in range(4)))

    assert [steps["login"][0] for steps in results.values()] == ["ok"] * 4
    assert site.most_at_once == 1
