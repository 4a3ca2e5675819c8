from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from scripts.errors import KitError, Problems
from scripts.platforms import secrets_file
from tests.secrets_file_support import HOST_KEY, LOGIN, MINE, Load, Told, load_text, told_of

TYPES = "ssh, sftp, docker, postgres, s3, http, mlflow, smtp, firecrest, kubernetes"


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


def test_missing_file_is_mended_by_copying_the_example(tmp_path: Path) -> None:
    with pytest.raises(KitError) as caught:
        secrets_file.load(tmp_path / "secrets.yaml")

    assert str(caught.value) == (
        "secrets.yaml: does not exist; run `cp secrets.example.yaml secrets.yaml` and fill it in."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "",
            "secrets.yaml line 1: is empty; begin with `platforms:` as secrets.example.yaml does.",
            id="empty",
        ),
        pytest.param(
            "- a\n",
            "secrets.yaml line 1: is no mapping at its top; begin with `platforms:` as secrets.example.yaml does.",
            id="list",
        ),
        pytest.param(
            "hunter2\n",
            "secrets.yaml line 1: is no mapping at its top; begin with `platforms:` as secrets.example.yaml does.",
            id="scalar",
        ),
        pytest.param(
            "platforms: {hpc: }\n",
            "secrets.yaml line 1: holds no entry; describe a platform as secrets.example.yaml does.",
            id="nothing in it",
        ),
        pytest.param(
            "platforms: [lumi]\n",
            "secrets.yaml line 1: platforms is not a mapping; write `name: value` lines below it.",
            id="platforms as a list",
        ),
        pytest.param(
            "platfroms: {}\npools: {a: 1}\n",
            "secrets.yaml line 1: platfroms is no key here (at the top); did you mean platforms?.",
            id="misspelt at the top",
        ),
        pytest.param(
            "hunter2: {}\npools: {a: 1}\n",
            "secrets.yaml line 1: has a key at the top that is not known; "
            "take of platforms, connections, raw, variables, pools.",
            id="unknown at the top",
        ),
        pytest.param(
            "platforms: {hpc: {lumi: ssh}}\n",
            "secrets.yaml line 1: platforms.hpc.lumi is not a mapping; write `type: ssh` and more below it.",
            id="platform as a word",
        ),
        pytest.param(
            "platforms: {hpc: {lumi: {address: a}}}\n",
            f"secrets.yaml line 1: platforms.hpc.lumi.type is missing; write one of {TYPES}.",
            id="no type",
        ),
        pytest.param(
            "platforms: {hpc: {lumi: {type: shh}}}\n",
            "secrets.yaml line 1: platforms.hpc.lumi.type is no type that there is; write ssh.",
            id="misspelt type",
        ),
        pytest.param(
            "platforms: {hpc: {lumi: {type: hunter2}}}\n",
            f"secrets.yaml line 1: platforms.hpc.lumi.type is no type that there is; write one of {TYPES}.",
            id="unknown type",
        ),
        pytest.param(
            "connections: {shh: {mine: {}}}\npools: {a: 1}\n",
            "secrets.yaml line 1: has a key in connections that is not known; did you mean ssh?.",
            id="misspelt type of credentials",
        ),
        pytest.param(
            "pools: {small: hunter2}\n",
            "secrets.yaml line 1: pools.small.slots is not usable; write a whole number from 1, for example 8.",
            id="pool is no number",
        ),
        pytest.param(
            "variables: {'': 1}\n",
            "secrets.yaml line 1: variables has a name that Airflow refuses; take one line of at most 250 characters.",
            id="variable without a name",
        ),
        pytest.param(
            "raw: {a b: 'http://example.org'}\n",
            "secrets.yaml line 1: raw has an id that Airflow refuses; "
            "take letters, digits, dots, dashes and underscores, at most 200.",
            id="raw id with a blank",
        ),
        pytest.param(
            "raw: {one: example.org}\n",
            "secrets.yaml line 1: raw.one is no URI; write `scheme://login:password@host:port/schema`, or a mapping.",
            id="raw without a scheme",
        ),
        pytest.param(
            "raw: {one: {conn_type: http, hots: a}}\n",
            "secrets.yaml line 1: hots is no key here (in raw.one); did you mean host?.",
            id="raw with an unknown key",
        ),
        pytest.param(
            "raw: {one: {conn_type: http, extra: {}, extra_dejson: {}}}\n",
            "secrets.yaml line 1: raw.one.extra_dejson stands beside extra; keep one of them.",
            id="raw with both extras",
        ),
        pytest.param(
            "raw: {one: {conn_type: http, extra: hunter2}}\n",
            "secrets.yaml line 1: raw.one.extra is not usable; "
            "write `name: value` lines below it, or a JSON object as text.",
            id="raw with an extra that is no JSON",
        ),
    ],
)
def test_wrong_file_is_told_in_one_sentence(told: Told, text: str, sentence: str) -> None:
    assert told(text) == sentence


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (", adress: x", "adress is no key here (in platforms.hpc.lumi); did you mean address?."),
        (", port: 0", "platforms.hpc.lumi.port is not usable; write a port from 1 to 65535, for example 22."),
        (", port: 65536", "platforms.hpc.lumi.port is not usable; write a port from 1 to 65535, for example 22."),
        (", port: hunter2", "platforms.hpc.lumi.port is not usable; write a port from 1 to 65535, for example 22."),
        (", pool: many", "platforms.hpc.lumi.pool is not usable; write a whole number from 1, for example 8."),
        (", jump: ", "platforms.hpc.lumi.jump is empty; write a value, or delete the line."),
        (", tags: fast", "platforms.hpc.lumi.tags is not usable; write a list such as [one, two]."),
        (", environment: x", "platforms.hpc.lumi.environment is not usable; write `name: value` lines below it."),
        (", scheduler: pbs", "platforms.hpc.lumi.scheduler is not usable; write one of slurm."),
        (", scratch: [a]", "platforms.hpc.lumi.scratch is not usable; write a single value."),
        (", check_host_key: maybe", "platforms.hpc.lumi.check_host_key is not usable; write true or false."),
        (", id: a b", "platforms.hpc.lumi.id is not usable; "
         "write letters, digits, dots, dashes and underscores, at most 200."),
        (", extra: {key_file: x}", "platforms.hpc.lumi.extra sets key_file, which Windrose sets itself; delete it."),
        (", extra: {no_host_key_check: true}",
         "platforms.hpc.lumi.extra sets no_host_key_check, which Windrose sets itself; delete it."),
        (", host_key: hunter2", "platforms.hpc.lumi.host_key is not usable; write `type base64` as `ssh-keyscan` shows "
         "it, the type one of ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, ssh-rsa."),
        (f", host_key: {HOST_KEY}, check_host_key: false",
         "platforms.hpc.lumi.check_host_key is false beside a host_key; keep one of them."),
        (", jump: hpc-lmui", "platforms.hpc.lumi.jump names no ssh platform; did you mean hpc-lumi?."),
        (", jump: hunter2", "platforms.hpc.lumi.jump names no ssh platform; write a platform's id."),
        (", jump: hpc-lumi", "platforms.hpc.lumi.jump names its own platform; name the platform on the way."),
        (", jump: hpc.lumi", "platforms.hpc.lumi.jump names its own platform; name the platform on the way."),
    ],
)  # fmt: skip
def test_wrong_platform_is_told_in_one_sentence(told: Told, more: str, sentence: str) -> None:
    assert told(LOGIN % more + MINE % "") == f"secrets.yaml line 1: {sentence}"


@pytest.mark.parametrize("address", ["a b", "https://lumi.csc.fi", "ada@lumi.csc.fi", "lumi.csc.fi:22", "-oX", "a%h"])
def test_address_is_a_host_and_nothing_more(told: Told, address: str) -> None:
    assert told((LOGIN % "").replace("lumi.csc.fi", f"'{address}'") + MINE % "") == (
        "secrets.yaml line 1: platforms.hpc.lumi.address is not usable; "
        "write a host name or an IP address alone, for example lumi.csc.fi."
    )


@pytest.mark.parametrize("address", ["lumi.csc.fi", "86.50.1.1", "2001:708::1", "login_1"])
def test_address_may_be_a_name_or_a_number(load: Load, address: str) -> None:
    assert load((LOGIN % "").replace("lumi.csc.fi", f"'{address}'") + MINE % "").ssh[0].address == address


def test_missing_keys_of_a_platform_are_all_told(told: Told) -> None:
    assert told("platforms: {hpc: {lumi: {type: ssh}}}\n").splitlines() == [
        "secrets.yaml line 1: platforms.hpc.lumi.key is missing; add it (Name of the key in connections.ssh).",
        "secrets.yaml line 1: platforms.hpc.lumi.address is missing; add it (Host name or IP address).",
        "secrets.yaml line 1: platforms.hpc.lumi.user is missing; add it (Login name there).",
    ]


def test_problems_of_every_kind_are_told_together_by_line(told: Told) -> None:
    text = (
        "platforms:\n"
        "  hpc:\n"
        "    lumi: {type: ssh, address: lumi.csc.fi, user: (fill), key: nobody}\n"
        "    roihu: {type: ssh, address: a, user: u, key: mine, port: 0}\n"
        "    other: {type: shh}\n"
        "connections:\n"
        "  ssh:\n"
        "    mine: {phrase_file: no-such-file}\n"
        "raw: {one: x}\n"
        "pools: {small: x}\n"
        "variables: {a: '${NO_SUCH_NAME}'}\n"
    )

    assert [line.split(":")[0] for line in told(text).splitlines()] == [
        f"secrets.yaml line {number}" for number in (3, 3, 4, 5, 8, 9, 10, 11)
    ]


def test_file_that_others_can_read_is_a_warning(load: Load, tmp_path: Path) -> None:
    load("pools: {a: 1}")
    (tmp_path / "secrets.yaml").chmod(0o644)

    assert load("pools: {a: 1}").warnings == ("secrets.yaml: can be read by others; run `chmod 600 secrets.yaml`.",)


@pytest.mark.parametrize("is_tracked", [True, False])
def test_file_that_git_tracks_is_a_warning(load: Load, tmp_path: Path, is_tracked: bool) -> None:
    load("pools: {a: 1}")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    if is_tracked:
        subprocess.run([*git, "add", "secrets.yaml"], check=True)

    assert (
        load("pools: {a: 1}").warnings
        == (
            "secrets.yaml: is tracked by git; "
            "run `git rm --cached secrets.yaml`, and change what it held if it was ever pushed.",
        )
        * is_tracked
    )


@pytest.fixture
def ordinary_user(tmp_path: Path) -> Iterator[None]:
    """Root reads every file, so root becomes somebody else for a while."""
    user = os.geteuid()
    for parent in [tmp_path, *tmp_path.parents[:-2]]:
        if user == 0:
            parent.chmod(0o755)
    os.seteuid(user or 65534)
    yield
    os.seteuid(user)


def test_file_that_cannot_be_read_is_told(load: Load, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    load("pools: {a: 1}")
    (tmp_path / "secrets.yaml").chmod(0)
    request.getfixturevalue("ordinary_user")

    with pytest.raises(KitError, match=r"^secrets\.yaml: cannot be read by you; correct its owner or its mode\.$"):
        secrets_file.load(tmp_path / "secrets.yaml")


def test_several_problems_are_one_exception_with_each_of_them(load: Load) -> None:
    with pytest.raises(Problems) as caught:
        load("pools: {a: 0, b: 0}")

    assert [problem.where for problem in caught.value.problems] == ["secrets.yaml line 1"] * 2
