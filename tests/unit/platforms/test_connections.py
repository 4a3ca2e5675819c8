from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from scripts.platforms.plan import Endpoint, Key, Phrase, SshPlatform
from tests.secrets_file_support import HOST_KEY, LOGIN, MINE, Load, Told, load_text, told_of

CLASSIC = """
platforms:
  cloud:
    cpouta-1: {address: '86.50.1.1', user: 'ubuntu', type: 'ssh', key: 'local-cloud'}
  hpc:
    puhti: {address: 'puhti.csc.fi', user: 'ada', type: 'ssh', key: 'local-hpc'}
    mahti: {address: 'mahti.csc.fi', user: 'ada', type: 'ssh', key: 'local-hpc'}
    lumi:  {address: 'lumi.csc.fi',  user: 'ada', type: 'ssh', key: 'local-hpc'}
connections:
  ssh:
    local-cloud: {path: '/run/secrets/local-cloud-ssh', phrase: 'cloud phrase'}
    local-hpc:   {path: '/run/secrets/local-hpc-ssh',   phrase: 'hpc phrase'}
    cloud-hpc:   {path: '/run/secrets/cloud-hpc-ssh',   phrase: 'empty'}
"""
OURS = "windrose: from secrets.yaml"
UNCHECKED = {"no_host_key_check": True, "allow_host_key_change": True}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


def connection_of(load: Load, platform: str, credentials: str = "", **options: object) -> object:
    """Return the JSON of a platform x.y with the key k."""
    kind = platform.split("type: ")[1].split(",")[0].rstrip("}")
    held = f"connections: {{{kind}: {{k: {credentials}}}}}" if credentials else ""
    return load(f"platforms: {{x: {{y: {platform}}}}}\n{held}", **options).connections["x-y"]


def test_classic_file_gives_its_connections_key_by_key(load: Load) -> None:
    plan = load(CLASSIC)

    def ssh(user: str, host: str, key: str) -> str:
        extra = f'"port": 22, "extra": {{"key_file": "/run/secrets/{key}"}}'
        return f'{{"conn_type": "ssh", "login": "{user}", "host": "{host}", {extra}, "description": "{OURS}"}}'

    assert {name: json.dumps(value) for name, value in plan.connections.items()} == {
        "cloud-cpouta-1": ssh("ubuntu", "86.50.1.1", "local-cloud-ssh"),
        "hpc-puhti": ssh("ada", "puhti.csc.fi", "local-hpc-ssh"),
        "hpc-mahti": ssh("ada", "mahti.csc.fi", "local-hpc-ssh"),
        "hpc-lumi": ssh("ada", "lumi.csc.fi", "local-hpc-ssh"),
    }
    assert plan.keys == (
        Key("local-cloud", "local-cloud-ssh", None, Phrase("literal", SecretStr("cloud phrase")), 11),
        Key("local-hpc", "local-hpc-ssh", None, Phrase("literal", SecretStr("hpc phrase")), 12),
        Key("cloud-hpc", "cloud-hpc-ssh", None, Phrase("none"), 13),
    )


def test_classic_file_gives_a_pool_a_platform(load: Load) -> None:
    assert load(CLASSIC).pools == {
        name: {"slots": 8, "description": f"windrose: logins to {name}", "include_deferred": False}
        for name in ("cloud-cpouta-1", "hpc-puhti", "hpc-mahti", "hpc-lumi")
    }


def test_platform_on_the_way_is_known_by_its_id(load: Load) -> None:
    text = CLASSIC.replace("key: 'local-cloud'}", "key: 'local-cloud', jump: hpc.lumi, port: 2222, scheduler: slurm}")

    assert load(text).ssh[0] == SshPlatform(
        id="cloud-cpouta-1",
        address="86.50.1.1",
        port=2222,
        user="ubuntu",
        key="local-cloud",
        password=None,
        jump="hpc-lumi",
        host_key="",
        check_host_key=True,
        scheduler="slurm",
        scratch="",
        line=4,
    )


@pytest.mark.parametrize(
    ("more", "pin", "extra"),
    [
        pytest.param("", "", {}, id="not pinned yet"),
        pytest.param("", HOST_KEY, {"host_key": HOST_KEY}, id="pinned"),
        pytest.param(f", host_key: {HOST_KEY}", "ssh-rsa other", {"host_key": HOST_KEY}, id="stated"),
        pytest.param(", check_host_key: false", HOST_KEY, UNCHECKED, id="not checked"),
    ],
)
def test_server_is_checked_by_the_key_that_is_known(load: Load, more: str, pin: str, extra: dict[str, object]) -> None:
    asked = []

    def pins(address: str, port: int) -> str:
        asked.append((address, port))
        return pin

    plan = load(LOGIN % (more + ", port: 23") + MINE % "", pins=pins)

    connection = plan.connections["hpc-lumi"]
    assert isinstance(connection, dict)
    assert connection["extra"] == {"key_file": "/run/secrets/mine", **extra}
    assert asked in ([], [("lumi.csc.fi", 23)])


def test_facts_of_a_platform_stand_in_its_extra(load: Load) -> None:
    facts = (
        "tags: [fast, 2], scratch: /s, account: 0123, environment: {A: 1}, transport: firecrest, preamble: 'x\n\n y'"
    )

    plan = load(LOGIN % f", {facts}, description: LUMI-C, pool: 3, extra: {{cmd_timeout: 60}}" + MINE % "")

    assert plan.connections["hpc-lumi"] == {
        "conn_type": "ssh",
        "login": "ada",
        "host": "lumi.csc.fi",
        "port": 22,
        "extra": {
            "key_file": "/run/secrets/mine",
            "windrose": {
                "account": "0123",
                "scratch": "/s",
                "transport": "firecrest",
                "preamble": "x\ny",
                "environment": {"A": "1"},
                "tags": ["fast", "2"],
                "slots": 3,
            },
            "cmd_timeout": 60,
        },
        "description": "windrose: LUMI-C",
    }
    assert plan.pools["hpc-lumi"]["slots"] == 3


def test_key_lies_where_the_runtime_says(load: Load) -> None:
    plan = load(LOGIN % "" + MINE % "", key_path=lambda key: f"/keys/{key.name}")

    connection = plan.connections["hpc-lumi"]
    assert isinstance(connection, dict)
    assert connection["extra"] == {"key_file": "/keys/mine"}


@pytest.mark.parametrize("kind", ["ssh", "sftp"])
def test_password_login_has_no_key(load: Load, kind: str) -> None:
    text = f"platforms: {{x: {{y: {{type: {kind}, address: a, user: u, key: k}}}}}}\n"

    plan = load(text + "connections: {ssh: {k: {password_command: echo hunter2}}}")

    assert plan.connections["x-y"] == {
        "conn_type": kind,
        "login": "u",
        "password": "hunter2",
        "host": "a",
        "port": 22,
        "description": OURS,
    }
    assert (plan.ssh[0].key, plan.ssh[0].password, plan.keys) == ("", SecretStr("hunter2"), ())


def test_sftp_prefers_a_key_of_its_own(load: Load) -> None:
    text = "platforms: {x: {y: {type: sftp, address: a, user: u, key: k}}}\n"

    plan = load(text + "connections: {ssh: {k: {password: a}}, sftp: {k: {phrase: empty}}}")

    assert (plan.ssh[0].key, plan.ssh[0].password) == ("k", None)


@pytest.mark.parametrize(
    ("platform", "credentials", "json_of"),
    [
        pytest.param(
            "{type: docker, address: 'registry.example.org:5000', user: u, key: k, email: a@b.c}",
            "{password: hunter2}",
            {
                "conn_type": "docker",
                "login": "u",
                "password": "hunter2",
                "host": "registry.example.org:5000",
                "extra": {"email": "a@b.c"},
            },
            id="docker",
        ),
        pytest.param(
            "{type: postgres, address: db, user: u, schema: results, key: k, sslmode: require}",
            "{password: hunter2}",
            {
                "conn_type": "postgres",
                "login": "u",
                "password": "hunter2",
                "host": "db",
                "port": 5432,
                "schema": "results",
                "extra": {"sslmode": "require"},
            },
            id="postgres",
        ),
        pytest.param(
            "{type: s3, address: 'https://a3s.fi', region: r, bucket: b, key: k, extra: {verify: no}}",
            "{access_key: AK, secret_key: hunter2}",
            {
                "conn_type": "aws",
                "login": "AK",
                "password": "hunter2",
                "extra": {
                    "endpoint_url": "https://a3s.fi",
                    "region_name": "r",
                    "service_config": {"s3": {"bucket_name": "b"}},
                    "verify": False,
                },
            },
            id="s3",
        ),
        pytest.param(
            "{type: http, address: 'https://api.example.org/v1', user: u, key: k}",
            "{password: hunter2}",
            {"conn_type": "http", "login": "u", "password": "hunter2", "host": "https://api.example.org/v1"},
            id="http with a password",
        ),
        pytest.param(
            "{type: http, address: 'https://api.example.org/v1', key: k}",
            "{token: hunter2}",
            {
                "conn_type": "http",
                "host": "https://api.example.org/v1",
                "extra": {"Authorization": "Bearer hunter2"},
            },
            id="http with a token",
        ),
        pytest.param(
            "{type: mlflow, address: 'https://ml.example.org', key: k}",
            "{token: hunter2}",
            {"conn_type": "mlflow", "password": "hunter2", "host": "https://ml.example.org"},
            id="mlflow",
        ),
        pytest.param(
            "{type: smtp, address: mail, user: u, key: k, from_email: a@b.c}",
            "{password: hunter2}",
            {
                "conn_type": "smtp",
                "login": "u",
                "password": "hunter2",
                "host": "mail",
                "port": 587,
                "extra": {"from_email": "a@b.c", "disable_tls": False, "disable_ssl": True},
            },
            id="smtp",
        ),
        pytest.param(
            "{type: smtp, address: mail, port: 465, ssl: true}",
            "",
            {
                "conn_type": "smtp",
                "host": "mail",
                "port": 465,
                "extra": {"disable_tls": True, "disable_ssl": False},
            },
            id="smtp encrypted from the start",
        ),
        pytest.param(
            "{type: firecrest, address: 'https://api.example.org/v1', token_url: 'https://id.example.org/token', "
            "system: lumi, scope: openid, key: k, scheduler: slurm, account: p}",
            "{client_id: me, client_secret: hunter2}",
            {
                "conn_type": "firecrest",
                "login": "me",
                "password": "hunter2",
                "host": "https://api.example.org/v1",
                "extra": {
                    "token_url": "https://id.example.org/token",
                    "system": "lumi",
                    "scope": "openid",
                    "windrose": {"scheduler": "slurm", "account": "p"},
                },
            },
            id="firecrest",
        ),
    ],
)
def test_each_type_is_told_in_the_fields_its_hook_reads(
    load: Load, platform: str, credentials: str, json_of: dict[str, object]
) -> None:
    found = connection_of(load, platform, credentials)

    assert json.dumps(found) == json.dumps({**json_of, "description": OURS})


def test_tags_that_no_hook_has_a_place_for_show_in_the_description(load: Load) -> None:
    plan = load("platforms: {x: {y: {type: s3, tags: [raw, shared], description: Allas}}}")

    assert plan.connections["x-y"] == {"conn_type": "aws", "description": "windrose: Allas [raw, shared]"}


@pytest.mark.parametrize(
    ("platform", "credentials", "sentence"),
    [
        ("{type: http, address: 'https://u:hunter2@a.b'}", "",
         "platforms.x.y.address is not usable; "
         "write an address with https:// (or http://), without user and password."),
        ("{type: http, address: 'https://a.b', user: u, key: k}", "{token: hunter2}",
         "platforms.x.y.user stands beside a token, which takes none; delete it."),
        ("{type: http, address: 'https://a.b', key: k}", "{password: hunter2}",
         "platforms.x.y has a password but no user; add `user`."),
        ("{type: smtp, address: a, user: u}", "",
         "platforms.x.y has a user but no key; add `key`, a name in connections.smtp."),
        ("{type: smtp, address: a, ssl: yes, starttls: yes}", "",
         "platforms.x.y.starttls stands beside ssl; keep one of them."),
        ("{type: s3, bucket: b, extra: {service_config: {}}}", "",
         "platforms.x.y.extra sets service_config, which Windrose sets itself; delete it."),
    ],
)  # fmt: skip
def test_platform_and_credentials_against_each_other_are_told(
    told: Told, platform: str, credentials: str, sentence: str
) -> None:
    kind = platform.split("type: ")[1].split(",")[0]
    held = f"connections: {{{kind}: {{k: {credentials}}}}}" if credentials else ""

    assert told(f"platforms: {{x: {{y: {platform}}}}}\n{held}") == f"secrets.yaml line 1: {sentence}"


def test_address_of_every_other_platform_can_be_tried(load: Load) -> None:
    plan = load(
        "platforms:\n  x:\n"
        "    a: {type: docker, address: registry.example.org/team, user: u, key: k}\n"
        "    b: {type: postgres, address: db, user: u}\n"
        "    c: {type: http, address: 'http://api.example.org'}\n"
        "    d: {type: s3}\n"
        "connections: {docker: {k: {password: p}}}\n"
    )

    assert plan.endpoints == (
        Endpoint("x-a", "docker", "registry.example.org", 443, 3),
        Endpoint("x-b", "postgres", "db", 5432, 4),
        Endpoint("x-c", "http", "api.example.org", 80, 5),
    )


def test_raw_connections_carry_our_mark(load: Load) -> None:
    plan = load(
        "raw:\n"
        "  one: {conn_type: ftp, host: h, port: '21', password: 0123, schema: s,"
        " extra: {passive: true}, description: D}\n"
        "  two: 'postgres://u:p@h:5432/db'\n"
    )

    assert plan.connections == {
        "one": {
            "conn_type": "ftp",
            "password": "0123",
            "host": "h",
            "port": 21,
            "schema": "s",
            "extra": {"passive": True},
            "description": "windrose: D",
        },
        "two": {"uri": "postgres://u:p@h:5432/db", "description": OURS},
    }


def test_pools_and_variables_are_taken_as_they_are(load: Load) -> None:
    plan = load(
        "pools: {a: 4, b: {slots: 2, description: D, include_deferred: true}}\nvariables: {v: {x: [1, 'two', null]}}\n"
    )

    assert plan.pools == {
        "a": {"slots": 4, "description": OURS, "include_deferred": False},
        "b": {"slots": 2, "description": "windrose: D", "include_deferred": True},
    }
    assert plan.variables == {"v": {"x": [1, "two", None]}}
