from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.commands import check_platforms
from scripts.errors import UsageError
from scripts.platforms import login_problems
from scripts.platforms.plan import Endpoint, Key, Phrase, Plan, SshPlatform

SITE = Key("site", "site-ssh", Path("/keys/site"), Phrase(), 3)
LUMI = SshPlatform(
    id="hpc-lumi",
    address="login.example.org",
    port=22,
    user="maija",
    key="site",
    password=None,
    jump="",
    host_key="",
    check_host_key=True,
    scheduler="slurm",
    scratch="/scratch/$USER",
    line=7,
)
LOGIN = {"conn_type": "ssh", "login": "maija", "extra": {"key_file": "/run/secrets/site-ssh", "host_key": "ssh-rsa AA"}}
FINE = {step: ["ok", ""] for step in login_problems.STEPS} | {"certificate": ["ok", "11.5 h"]}


def plan_of(*platforms: SshPlatform, endpoints: tuple[Endpoint, ...] = (), keys: tuple[Key, ...] = (SITE,)) -> Plan:
    return Plan({platform.id: dict(LOGIN) for platform in platforms}, {}, {}, platforms, keys, endpoints, ())


def failed(**steps: list[str]) -> dict[str, list[str]]:
    return {step: steps.get(step, ["-", ""]) for step in login_problems.STEPS}


def told(platform: SshPlatform, states: dict[str, Any] | None = None, **steps: list[str]) -> list[str]:
    return login_problems.of_login(platform, failed(**steps), plan_of(platform), states or {})


def test_login_is_tried_with_what_the_connection_says() -> None:
    gate = replace(LUMI, id="gate", address="gate.example.org", scheduler="", scratch="")
    middle = replace(LUMI, id="middle", address="10.0.0.2", jump="gate")
    inner = replace(LUMI, id="inner", address="10.0.0.3", jump="middle", check_host_key=False)
    plan = plan_of(gate, middle, inner, endpoints=(Endpoint("db", "postgres", "db.example.org", 5432, 9),))
    plan.connections["inner"] = {"conn_type": "sftp", "password": "sesame", "extra": {"no_host_key_check": True}}

    asked = check_platforms.request(plan, [inner], plan.endpoints)

    assert asked == {
        "platforms": [
            {
                "id": "inner",
                "type": "sftp",
                "address": "10.0.0.3",
                "port": 22,
                "user": "maija",
                "password": "sesame",
                "key_file": "",
                "host_key": "",
                "check_host_key": False,
                "scratch": "/scratch/$USER",
                "scheduler": "slurm",
                "proxy": ["ssh", "-F", "/home/airflow/.ssh/config", "-W", "10.0.0.3:22", "windrose-middle"],
                "door": "gate.example.org",
            }
        ],
        "endpoints": [{"id": "db", "address": "db.example.org", "port": 5432}],
        "timeout": 20,
        "parallel": 10,
    }


def test_only_a_password_that_is_not_known_yet_is_asked_for() -> None:
    plan = plan_of(LUMI, replace(LUMI, id="password", key=""), replace(LUMI, id="command", key=""))
    plan.connections["password"] = {"conn_type": "ssh", "password": "sesame", "extra": {}}
    plan.connections["command"] = {"conn_type": "ssh", "extra": {}}

    asked = {platform.id: check_platforms.waits_for_a_command(plan, platform) for platform in plan.ssh}

    assert asked == {"hpc-lumi": False, "password": False, "command": True}


def test_named_platform_alone_is_tried() -> None:
    plan = plan_of(LUMI, replace(LUMI, id="other"), endpoints=(Endpoint("db", "postgres", "db.example.org", 5432, 9),))

    assert check_platforms.choose(plan, "other") == ([plan.ssh[1]], [])
    assert check_platforms.choose(plan, "db") == ([], [plan.endpoints[0]])
    assert check_platforms.choose(plan, "") == (list(plan.ssh), list(plan.endpoints))


def test_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        check_platforms.choose(plan_of(LUMI), "hpc-lumy")

    assert str(caught.value) == "PLATFORM: is no platform of secrets.yaml that has an address; did you mean hpc-lumi?."


def test_login_that_works_has_no_problem() -> None:
    assert login_problems.of_login(LUMI, FINE, plan_of(LUMI), {}) == []


NETWORK = "check `address` and `port` in secrets.yaml, and whether this network may reach it."
SIGN = "sign it again and save it as /keys/site-cert.pub; there is nothing to register."


@pytest.mark.parametrize(
    ("step", "code", "detail", "sentence"),
    [
        (
            "name",
            "name-not-found",
            "",
            "hpc-lumi name: the name is not found; check `address` in secrets.yaml, or the machine's name server.",
        ),
        ("port", "refused", "", f"hpc-lumi port: the connection is refused; {NETWORK}"),
        ("port", "timeout", "", f"hpc-lumi port: no answer in time; {NETWORK}"),
        (
            "host_key",
            "host-key-unknown",
            "SHA256:x",
            "hpc-lumi host key: its host key is not pinned; run `make trust PLATFORM=hpc-lumi`.",
        ),
        (
            "host_key",
            "host-key-changed",
            "SHA256:x",
            "hpc-lumi host key: it shows another host key than the pinned one; "
            "run `make trust PLATFORM=hpc-lumi`, which shows both.",
        ),
        (
            "scratch",
            "not-writable",
            "Disk quota exceeded",
            "hpc-lumi scratch: `scratch` cannot be written (Disk quota exceeded); "
            "correct it in secrets.yaml, or free some quota.",
        ),
        (
            "scheduler",
            "no-scheduler",
            "",
            "hpc-lumi scheduler: Slurm does not answer (no reason given); "
            "check `scheduler`, or load its module in the login profile.",
        ),
        (
            "login",
            "of-a-later-release",
            "odd {id}",
            "hpc-lumi login: it failed (odd {id}); try again, then ask the site.",
        ),
    ],
)
def test_failed_step_names_its_mend(step: str, code: str, detail: str, sentence: str) -> None:
    assert told(LUMI, **{step: [code, detail]}) == [sentence]


def test_expired_certificate_is_told_once_with_its_age() -> None:
    problems = told(LUMI, login=["certificate-expired", "publickey"], certificate=["certificate-expired", "3.0 h"])

    assert problems == [f"hpc-lumi login: its certificate expired 3.0 h ago; {SIGN}"]


def test_certificate_of_the_future_suspects_the_clock() -> None:
    state = ["certificate-not-yet-valid", "3.0 h"]

    assert told(LUMI, login=state, certificate=state) == [
        f"hpc-lumi login: its certificate is good only in 3.0 h; check this machine's clock, or {SIGN}"
    ]


def test_expired_certificate_that_nobody_needs_is_a_remark() -> None:
    steps = {**FINE, "certificate": ["certificate-expired", "3.0 h"]}

    assert login_problems.of_login(LUMI, steps, plan_of(LUMI), {}) == []
    assert login_problems.remarks({"hpc-lumi": steps, "other": FINE}) == [
        "hpc-lumi: certificate expired, but the server takes the key without it"
    ]


def test_locked_key_is_told_as_the_keys_service_says() -> None:
    states = {"site-ssh": {"state": "locked", "certificate_until": None}}

    assert told(LUMI, states, login=["key-missing", ""]) == [
        "hpc-lumi key site: is locked: its passphrase is not known here; run `make connections`."
    ]


def test_missing_key_is_told_without_the_keys_service() -> None:
    assert told(LUMI, login=["key-missing", ""]) == [
        "hpc-lumi login: its key is not there; name it with `file` in secrets.yaml, then run `make connections`."
    ]


def test_changed_key_that_the_file_states_is_corrected_there() -> None:
    assert told(replace(LUMI, host_key="ssh-rsa AA"), host_key=["host-key-changed", ""]) == [
        "hpc-lumi host key: it shows another host key than the pinned one; "
        "ask the site; if its key is new, correct `host_key` in secrets.yaml."
    ]


def test_jump_host_that_does_not_open_is_named() -> None:
    assert told(replace(LUMI, jump="gate"), port=["jump-failed", "Connection refused"]) == [
        "hpc-lumi port: the way over gate does not open (Connection refused); see `make check-platforms PLATFORM=gate`."
    ]


def test_denied_login_names_the_public_key_to_register(tmp_path: Path) -> None:
    for name in ("site", "site.pub", "site-cert.pub"):
        (tmp_path / name).touch()
    plan = plan_of(LUMI, keys=(replace(SITE, file=tmp_path / "site"),))

    steps = failed(login=["permission-denied", "publickey, password"])

    assert login_problems.of_login(LUMI, steps, plan, {}) == [
        "hpc-lumi login: permission denied (the server takes publickey, password); check `user` in secrets.yaml, "
        f"then register {tmp_path}/site.pub with the site, for this user, or sign its certificate for this user."
    ]


def test_denied_login_at_csc_points_to_mycsc() -> None:
    assert told(replace(LUMI, address="lumi.csc.fi"), login=["permission-denied", ""]) == [
        "hpc-lumi login: permission denied; "
        "check `user` in secrets.yaml, then register the public part of key site in MyCSC."
    ]


def test_denied_password_points_to_user_and_password() -> None:
    plan = plan_of(replace(LUMI, key=""))

    assert login_problems.of_login(plan.ssh[0], failed(login=["permission-denied", "password"]), plan, {}) == [
        "hpc-lumi login: permission denied (the server takes password); check user and password in secrets.yaml."
    ]


def test_endpoint_that_refuses_is_told() -> None:
    steps = failed(name=["ok", "192.0.2.1"], port=["refused", ""])

    assert login_problems.of_endpoint("db", steps) == [f"db port: the connection is refused; {NETWORK}"]


def test_table_shows_hours_version_and_what_is_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    steps = {**FINE, "host_key": ["not-checked", ""], "scheduler": ["ok", "slurm 24.05.3"], "name": ["ok", "192.0.2.1"]}
    broken = failed(name=["ok", "192.0.2.2"], port=["refused", ""])

    check_platforms.show({"hpc-lumi": steps, "db": broken}, {"hpc-lumi": [], "db": ["db port: refused."]})

    assert capsys.readouterr().out.splitlines() == [
        "PLATFORM  NAME  PORT     HOST KEY     LOGIN  SHELL  SCRATCH  SCHEDULER      CERTIFICATE",
        "hpc-lumi  ok    ok       NOT CHECKED  ok     ok     ok       slurm 24.05.3  11.5 h",
        "db        ok    refused  -            -      -      -        -              -",
        "",
        "db port: refused.",
        "1 of 2 cannot be used",
    ]


def test_json_holds_every_step() -> None:
    answer = check_platforms.as_json({"db": failed(port=["refused", ""])}, {"db": ["db port: refused."]})

    assert json.loads(json.dumps(answer)) == {
        "db": {
            "usable": False,
            "steps": {step: {"state": "-", "detail": ""} for step in login_problems.STEPS}
            | {"port": {"state": "refused", "detail": ""}},
            "problems": ["db port: refused."],
        }
    }
