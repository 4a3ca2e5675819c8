from __future__ import annotations

import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import KitError
from scripts.platforms import ssh_files
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import Plan, SshPlatform

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKcb3NZGJkI6uehCDEs93tXhrGdwgJVZVPae11pt/Fil"
HEAD = "# Written by Windrose from secrets.yaml; edit that.\n"


def platform(platform_id: str, address: str, **changes: Any) -> SshPlatform:
    return replace(
        SshPlatform(
            id=platform_id,
            address=address,
            port=22,
            user="maija",
            key="site",
            password=None,
            jump="",
            host_key="",
            check_host_key=True,
            scheduler="",
            scratch="",
            line=7,
        ),
        **changes,
    )


def plan_of(*platforms: SshPlatform) -> Plan:
    connections: dict[str, dict[str, Any] | str] = {
        each.id: {"conn_type": "ssh", "extra": {"key_file": f"/run/secrets/{each.key}"} if each.key else {}}
        for each in platforms
    }
    return Plan(connections, {}, {}, platforms, (), (), ())


def problems_of(*platforms: SshPlatform) -> list[str]:
    with pytest.raises(KitError) as caught:
        ssh_files.config(plan_of(*platforms))
    return str(caught.value).splitlines()


def ssh_reads(tmp_path: Path, text: str, host: str) -> dict[str, str]:
    """Return what OpenSSH itself makes of a config."""
    program = shutil.which("ssh")
    if program is None:
        pytest.skip("no ssh on PATH")
    path = tmp_path / "config"
    path.write_text(text)
    done = subprocess.run([program, "-F", str(path), "-G", host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_platforms_without_a_jump_host_need_no_config() -> None:
    assert ssh_files.config(plan_of(platform("hpc-lumi", "lumi.csc.fi"))) == HEAD


def test_way_over_two_jump_hosts_is_spelt_out() -> None:
    text = ssh_files.config(
        plan_of(
            platform("hpc-inner", "10.0.0.9", jump="hpc-middle", port=2222),
            platform("hpc-middle", "middle.example.org", jump="hpc-gate", key="middle"),
            platform("hpc-gate", "2001:db8::1", check_host_key=False, user="gate.keeper", port=2022),
        )
    )

    assert text == (
        f"{HEAD}\n"
        "Host 10.0.0.9\n"
        "    ProxyCommand ssh -F /home/airflow/.ssh/config -W 10.0.0.9:2222 windrose-hpc-middle\n"
        "\n"
        "Host middle.example.org\n"
        "    ProxyCommand ssh -F /home/airflow/.ssh/config -W middle.example.org:22 windrose-hpc-gate\n"
        "\n"
        "Host windrose-hpc-middle\n"
        "    HostName middle.example.org\n"
        "    Port 22\n"
        "    User maija\n"
        "    IdentityFile /run/secrets/middle\n"
        "    IdentitiesOnly yes\n"
        "    BatchMode yes\n"
        "    StrictHostKeyChecking yes\n"
        "    UserKnownHostsFile /home/airflow/.ssh/known_hosts\n"
        "    ConnectTimeout 20\n"
        "    LogLevel ERROR\n"
        "    ProxyCommand ssh -F /home/airflow/.ssh/config -W middle.example.org:22 windrose-hpc-gate\n"
        "\n"
        "Host windrose-hpc-gate\n"
        "    HostName 2001:db8::1\n"
        "    Port 2022\n"
        "    User gate.keeper\n"
        "    IdentityFile /run/secrets/site\n"
        "    IdentitiesOnly yes\n"
        "    BatchMode yes\n"
        "    StrictHostKeyChecking no\n"
        "    UserKnownHostsFile /dev/null\n"
        "    ConnectTimeout 20\n"
        "    LogLevel ERROR\n"
    )


def test_address_of_version_6_stands_in_brackets_behind_a_jump_host() -> None:
    inner = platform("inner", "2001:db8::9", jump="gate")

    assert ssh_files.proxy_command(inner)[3:] == ["-W", "[2001:db8::9]:22", "windrose-gate"]


@pytest.mark.parametrize("platform_id", ["hpc-gate", "HPC-Gate", "site/gate#1", "portti-äö", "a_b"])
def test_openssh_finds_the_jump_host_whatever_its_id(tmp_path: Path, platform_id: str) -> None:
    inner = platform("inner", "10.0.0.9", jump=platform_id)
    text = ssh_files.config(plan_of(inner, platform(platform_id, "gate.example.org", port=2022)))

    found = ssh_reads(tmp_path, text, ssh_files.proxy_command(inner)[-1])

    told = {name: found[name] for name in ("hostname", "port", "user", "identityfile", "stricthostkeychecking")}
    assert told == {
        "hostname": "gate.example.org",
        "port": "2022",
        "user": "maija",
        "identityfile": "/run/secrets/site",
        "stricthostkeychecking": "true",
    }


def test_two_ids_never_share_a_name_on_the_way() -> None:
    ids = ["Gate", "gate", "+47ate", "ga/te", "ga+2fte", "ga-te"]

    assert len({ssh_files.alias(platform_id) for platform_id in ids}) == len(ids)


@pytest.mark.parametrize(
    "user", ["two words", 'quo"te', "new\nline", "back\\slash", "-oProxyCommand=x", "$HOME", "50%", ""]
)
def test_user_that_would_break_the_config_is_refused(user: str) -> None:
    inner = platform("inner", "10.0.0.9", jump="gate")

    assert problems_of(inner, platform("gate", "gate.example.org", user=user)) == [
        "secrets.yaml line 7: gate has signs in `user` that a jump host's configuration cannot hold; "
        "use letters, digits and . _ + @ - only."
    ]


@pytest.mark.parametrize(
    "address", ["*", "a b", "a\nHost b", "-oProxyCommand=x", "%h", "fe80::1%eth0", "a,b", "${HOME}", ""]
)
def test_address_that_would_break_the_config_is_refused(address: str) -> None:
    assert problems_of(platform("inner", address, jump="gate"), platform("gate", "gate.example.org")) == [
        "secrets.yaml line 7: inner has signs in `address` that a host name cannot have; correct it."
    ]


@pytest.mark.parametrize("key", ["", "two words", "new\nline", 'quo"te', "50%"])
def test_jump_host_without_a_usable_key_is_refused(key: str) -> None:
    assert problems_of(platform("inner", "10.0.0.9", jump="gate"), platform("gate", "gate.example.org", key=key)) == [
        "secrets.yaml line 7: gate is a jump host and needs a key; give it a `key` whose `path` has letters, digits "
        "and . _ - only; ssh can ask nobody for a password."
    ]


def test_circle_of_jump_hosts_is_refused() -> None:
    problems = problems_of(platform("a", "a.example.org", jump="b"), platform("b", "b.example.org", jump="a"))

    fix = "let one of them do without `jump`"
    assert problems == [
        f"secrets.yaml line 7: {name} is reached over a circle of jump hosts; {fix}." for name in ("a", "b")
    ]


def test_jump_host_that_is_no_platform_is_refused() -> None:
    assert problems_of(platform("a", "a.example.org", jump="b")) == [
        "secrets.yaml line 7: a names a jump host that is no ssh platform; name one of platforms."
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"port": 2222, "jump": "gate"}, id="another port"),
        pytest.param({"jump": ""}, id="no jump host"),
        pytest.param({"jump": "gate", "address": "INNER.example.org", "port": 2222}, id="other letters"),
    ],
)
def test_one_address_over_two_ways_is_refused(second: dict[str, Any]) -> None:
    first = platform("first", "inner.example.org", jump="gate")

    problems = problems_of(
        first, platform("second", **{"address": "inner.example.org", **second}), platform("gate", "gate.example.org")
    )

    assert problems == [
        "secrets.yaml line 7: second has the address of first, but another `jump` or `port`; "
        "Airflow finds the way by the address alone: give one of them another name of the machine."
    ]


def test_two_users_of_one_machine_share_the_way() -> None:
    first = platform("first", "inner.example.org", jump="gate")
    text = ssh_files.config(plan_of(first, replace(first, id="second"), platform("gate", "gate.example.org")))

    assert text.count("\nHost inner.example.org\n") == 1


def test_key_stated_in_the_file_takes_the_place_of_the_pin() -> None:
    pins = KnownHosts()
    pins.pin("lumi.csc.fi", 22, [OTHER])
    pins.pin("other.csc.fi", 22, [OTHER])

    text = ssh_files.known_hosts(plan_of(platform("lumi", "lumi.csc.fi", host_key=f"{ED25519} comment")), pins)

    assert text == f"{HEAD}other.csc.fi {OTHER}\nlumi.csc.fi {ED25519}\n"
    assert pins.keys("lumi.csc.fi") == [OTHER]


def test_pin_of_a_platform_that_is_not_checked_is_left_out() -> None:
    pins = KnownHosts()
    pins.pin("lumi.csc.fi", 22, [OTHER])
    unchecked = platform("lumi", "lumi.csc.fi", check_host_key=False)

    assert ssh_files.known_hosts(plan_of(unchecked), pins) == HEAD
    assert (
        ssh_files.known_hosts(plan_of(unchecked, platform("too", "lumi.csc.fi")), pins)
        == f"{HEAD}lumi.csc.fi {OTHER}\n"
    )


def test_files_are_private_and_written_only_when_changed(tmp_path: Path) -> None:
    folder = tmp_path / "ssh"
    plan = plan_of(platform("lumi", "lumi.csc.fi", host_key=ED25519))

    assert ssh_files.write(plan, KnownHosts(), folder, None)
    before = {path.name: (path.stat().st_ino, path.read_text()) for path in folder.iterdir()}
    assert not ssh_files.write(plan, KnownHosts(), folder, None)
    after = {path.name: (path.stat().st_ino, path.read_text()) for path in folder.iterdir()}

    assert before == after
    assert sorted(before) == ["config", "known_hosts"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())] == [0o700, 0o600, 0o600]


def test_file_that_others_could_read_is_written_anew(tmp_path: Path) -> None:
    plan = plan_of(platform("lumi", "lumi.csc.fi"))
    ssh_files.write(plan, KnownHosts(), tmp_path / "ssh", None)
    (tmp_path / "ssh" / "config").chmod(0o664)

    assert ssh_files.write(plan, KnownHosts(), tmp_path / "ssh", None)
    assert stat.S_IMODE((tmp_path / "ssh" / "config").stat().st_mode) == 0o600
