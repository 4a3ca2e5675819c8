from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.secrets_file_support import LOGIN, MINE, Load, Told, load_text, told_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_SUCH_NAME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        pytest.param(
            LOGIN % "" + "connections:\n  ssh: {mien: {phrase: empty}}\n",
            ["secrets.yaml line 1: platforms.hpc.lumi.key names nothing in connections.ssh; did you mean mien?."],
            id="missing key",
        ),
        pytest.param(
            LOGIN % "" + "connections:\n  docker: {mine: {password: a}}\n",
            [
                "secrets.yaml line 1: platforms.hpc.lumi.key names a key of connections.docker; "
                "name one of connections.ssh, or move it there."
            ],
            id="key of another type",
        ),
        pytest.param(
            "platforms:\n  hpc:\n    lumi: {type: ssh, address: a, user: u, key: mine}\n"
            "    copy: {type: ssh, address: b, user: u, key: mine, id: hpc-lumi}\n"
            "raw:\n  hpc-lumi: http://example.org\n" + MINE % "",
            [
                "secrets.yaml line 4: platforms.hpc.copy has the connection id of line 3; give one of them another "
                "`id`.",
                "secrets.yaml line 6: raw.hpc-lumi has the connection id of line 3; give one of them another `id`.",
            ],
            id="duplicate ids",
        ),
        pytest.param(
            "platforms:\n  hpc:\n    lu mi: {type: ssh, address: a, user: u, key: mine}\n" + MINE % "",
            [
                "secrets.yaml line 3: platforms.hpc gives a connection id that Airflow refuses; "
                "add an `id` of letters, digits, dots, dashes and underscores, at most 200."
            ],
            id="name that Airflow refuses",
        ),
        pytest.param(
            "platforms:\n  hpc:\n    a: {type: ssh, address: a, user: u, key: mine, jump: hpc-b}\n"
            "    b: {type: ssh, address: b, user: u, key: mine, jump: hpc-c}\n"
            "    c: {type: ssh, address: c, user: u, key: mine, jump: hpc-b}\n" + MINE % "",
            [
                "secrets.yaml line 4: platforms.hpc.b.jump leads in a circle; let one of them do without `jump`.",
                "secrets.yaml line 5: platforms.hpc.c.jump leads in a circle; let one of them do without `jump`.",
            ],
            id="circle of jumps",
        ),
        pytest.param(
            "platforms:\n  hpc:\n    a: {type: ssh, address: a, user: u, key: mine, jump: hpc-b}\n"
            "    b: {type: ssh, address: b, user: u, key: word}\n"
            "connections: {ssh: {mine: {phrase: empty}, word: {password: a}}}\n",
            [
                "secrets.yaml line 3: platforms.hpc.a.jump goes through a platform with a password; "
                "give that one a key: ssh asks nobody."
            ],
            id="jump through a password",
        ),
        pytest.param(
            "platforms:\n  hpc:\n    a: {type: ssh, address: Same, user: u, key: mine, jump: hpc-b}\n"
            "    b: {type: ssh, address: b, user: u, key: mine}\n"
            "    c: {type: ssh, address: same, user: u, key: mine}\n" + MINE % "",
            [
                "secrets.yaml line 5: platforms.hpc.c has the address of line 3, but another jump or port; "
                "give both the same, or two names of the machine."
            ],
            id="one address by two ways",
        ),
        pytest.param(
            "connections:\n  ssh:\n    a: {path: /run/secrets/b, phrase: empty}\n    b: {phrase: empty}\n",
            [
                "secrets.yaml line 4: connections.ssh.b has the path of the key in line 3; "
                "give one of them another `path`."
            ],
            id="one path for two keys",
        ),
        pytest.param(
            "connections:\n  ssh: {a: {path: /run/secrets/b, phrase: empty}}\n  sftp: {a: {phrase: empty}}\n",
            [
                "secrets.yaml line 3: connections.sftp.a has the name of the key in line 2; "
                "give one of them another name."
            ],
            id="one name for two keys",
        ),
        pytest.param(
            LOGIN % "" + MINE % "" + "pools:\n  hpc-lumi: 3\n",
            ["secrets.yaml line 4: pools.hpc-lumi is the pool of a platform; write `pool` in the platform instead."],
            id="pool of a platform",
        ),
    ],
)
def test_names_that_do_not_meet_are_told(told: Told, text: str, sentences: list[str]) -> None:
    assert told(text).splitlines() == sentences


def test_two_platforms_of_one_address_may_differ_in_the_port_alone(load: Load) -> None:
    text = (
        "platforms: {hpc: {a: {type: ssh, address: one, user: u, key: mine},"
        " b: {type: ssh, address: one, port: 2222, user: u, key: mine}}}\n"
    )

    assert [platform.port for platform in load(text + MINE % "").ssh] == [22, 2222]


def test_broken_platform_is_still_known_to_those_that_name_it(told: Told) -> None:
    text = (
        "platforms:\n  hpc:\n    a: {type: ssh, address: a, user: u, key: mine, jump: hpc-b}\n"
        "    b: {type: ssh, address: b, user: u, key: mine, port: x}\n" + MINE % ", file: no-such-key"
    )

    assert [line.split(";")[0] for line in told(text).splitlines()] == [
        "secrets.yaml line 4: platforms.hpc.b.port is not usable",
        "secrets.yaml line 5: connections.ssh.mine.file names a file that does not exist",
    ]
