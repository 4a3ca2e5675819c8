"""`make connections`: Airflow holds just what secrets.yaml says, and what people made by hand."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.engine_support import Stack
from tests.platform_support import PlatformFile, connections, lines_with

DRIFT = 3
# The file of the tutorial, word for word, its blanks filled.
SEED = """
platforms:
  cloud:
    cpouta-1: {address: '192.0.2.17', user: 'ubuntu', type: 'ssh', key: 'local-cloud'}
  hpc:
    puhti: {address: 'puhti.csc.fi', user: 'doe', type: 'ssh', key: 'local-hpc'}
    mahti: {address: 'mahti.csc.fi', user: 'doe', type: 'ssh', key: 'local-hpc'}
    lumi:  {address: 'lumi.csc.fi',  user: 'doe', type: 'ssh', key: 'local-hpc'}
connections:
  ssh:
    local-cloud: {path: '/run/secrets/local-cloud-ssh', phrase: 'vast-cloud-phrase'}
    local-hpc:   {path: '/run/secrets/local-hpc-ssh',   phrase: 'deep-hpc-phrase'}
    cloud-hpc:   {path: '/run/secrets/cloud-hpc-ssh',   phrase: 'empty'}
"""
SEED_IDS = ["cloud-cpouta-1", "hpc-lumi", "hpc-mahti", "hpc-puhti"]
POOL = {"slots": 8, "include_deferred": False}


@pytest.fixture
def seed(platforms: PlatformFile) -> PlatformFile:
    """The tutorial's file; Airflow holds what an earlier test left."""
    platforms.content = yaml.safe_load(SEED)
    return platforms


@pytest.fixture
def registered(seed: PlatformFile) -> PlatformFile:
    """The tutorial's file, registered."""
    seed.register()
    return seed


def pools(stack: Stack) -> dict[str, dict[str, object]]:
    """Return the pools but Airflow's own."""
    found = stack.api("GET", "pools?limit=100")["pools"]
    return {one["name"]: {key: one[key] for key in POOL} for one in found if one["name"] != "default_pool"}


def test_file_of_the_tutorial_gives_its_connections(stack: Stack, registered: PlatformFile) -> None:
    found = connections(stack)

    fields = {key: found["hpc-lumi"][key] for key in ("conn_type", "login", "password", "host", "port", "extra")}
    assert list(found) == SEED_IDS
    assert fields == {
        "conn_type": "ssh",
        "login": "doe",
        "password": None,
        "host": "lumi.csc.fi",
        "port": 22,
        "extra": {"key_file": "/run/secrets/local-hpc-ssh"},
    }
    assert pools(stack) == dict.fromkeys(SEED_IDS, POOL)


def test_second_run_changes_nothing(stack: Stack, registered: PlatformFile) -> None:
    before = (connections(stack), pools(stack), stack.starts())

    done = stack.command("connections", JSON="yes")

    answer = json.loads(done.stdout)
    changes = {entry["change"] for kind in ("connections", "pools", "variables") for entry in answer[kind].values()}
    assert (done.returncode, answer["version"], changes) == (0, 1, {"unchanged"})
    assert (connections(stack), pools(stack), stack.starts()) == before


def test_made_by_hand_survives_and_removed_from_the_file_goes(stack: Stack, registered: PlatformFile) -> None:
    stack.api("POST", "connections", {"connection_id": "by-hand", "conn_type": "http", "password": "typed-in-the-page"})
    del registered.content["platforms"]["hpc"]["mahti"]

    done = registered.register()

    kept = [name for name in SEED_IDS if name != "hpc-mahti"]
    assert list(connections(stack)) == ["by-hand", *kept]
    assert sorted(pools(stack)) == kept
    assert lines_with(done.stdout, "hpc-mahti", "removed") != []


def test_edit_in_the_page_is_named_without_values_and_undone(stack: Stack, registered: PlatformFile) -> None:
    before = connections(stack)
    edited = {"connection_id": "hpc-lumi", "conn_type": "ssh", "login": "mallory", "password": "slipped-in"}
    stack.api("PATCH", "connections/hpc-lumi?update_mask=login&update_mask=password", edited)

    told = stack.command("connections", DIFF="yes")
    undone = stack.make("connections")

    assert (told.returncode, undone.returncode) == (DRIFT, 0)
    assert told.stdout.splitlines() == [
        "connection hpc-lumi: differs in login, password",
        "run `make connections` to restore 1",
    ]
    assert connections(stack) == before


def test_same_id_made_by_hand_stops_until_it_is_adopted(stack: Stack, seed: PlatformFile) -> None:
    stack.api("POST", "connections", {"connection_id": "hpc-roihu", "conn_type": "http", "host": "by-hand.example.org"})
    before = connections(stack)
    seed.platform("roihu", "roihu.csc.fi", "local-hpc")
    seed.platform("new", "new.csc.fi", "local-hpc")
    seed.save()

    stopped = stack.command("connections")
    untouched = connections(stack)
    adopted = stack.make("connections", "ADOPT=hpc-roihu")

    after = connections(stack)
    assert (stopped.returncode, untouched) == (1, before)
    assert "ADOPT=hpc-roihu" in stopped.stderr
    assert adopted.returncode == 0, adopted.stderr
    assert (after["hpc-roihu"]["host"], after["hpc-new"]["host"]) == ("roihu.csc.fi", "new.csc.fi")


def test_one_bad_platform_among_fifty_changes_nothing(stack: Stack, seed: PlatformFile) -> None:
    before = (connections(stack), pools(stack))
    for number in range(49):
        seed.platform(f"good-{number}", f"node-{number}.example.org", "local-hpc")
    seed.platform("bad", "node.example.org", "local-hcp", port=220000)
    text = seed.save()

    done = stack.command("connections")

    numbers = [number for number, line in enumerate(text.splitlines(), start=1) if "220000" in line or "hcp" in line]
    assert done.returncode == 1
    assert [len(lines_with(done.stderr, f"line {number}")) for number in numbers] == [1, 1]
    assert (connections(stack), pools(stack)) == before


def test_check_looks_and_touches_nothing(stack: Stack, seed: PlatformFile) -> None:
    before = connections(stack)
    seed.platform("later", "later.example.org", "local-hpc")
    seed.save()

    done = stack.make("connections", "CHECK=yes")

    assert (done.returncode, connections(stack)) == (0, before)


def test_pool_variables_and_raw_connections_come_from_the_file(stack: Stack, seed: PlatformFile) -> None:
    seed.platform("lumi", "lumi.csc.fi", "local-hpc", pool=3)
    seed.content |= {
        "raw": {
            "old-uri": "http://me:hush-uri@api.example.org:8443/path",
            "old-json": {"conn_type": "ftp", "host": "ftp.example.org", "extra": {"passive": True}},
        },
        "variables": {"colour": "blau — 青", "limits": {"cpu": 4}},
        "pools": {"licences": 5},
    }

    seed.register()

    found = connections(stack)
    variables = {one["key"]: one["value"] for one in stack.api("GET", "variables")["variables"]}
    assert (found["old-uri"]["host"], found["old-uri"]["port"], found["old-uri"]["login"]) == (
        "api.example.org",
        8443,
        "me",
    )
    assert found["old-json"]["extra"] == {"passive": True}
    assert (variables["colour"], json.loads(variables["limits"])) == ("blau — 青", {"cpu": 4})
    assert (pools(stack)["hpc-lumi"]["slots"], pools(stack)["licences"]["slots"]) == (3, 5)


def test_up_registers_what_the_file_says(stack: Stack, seed: PlatformFile) -> None:
    seed.platform("with-up", "up.example.org", "local-hpc")
    seed.save()

    stack.up()

    assert connections(stack)["hpc-with-up"]["host"] == "up.example.org"


def test_up_with_a_bad_file_brings_the_stack_up_and_fails(stack: Stack, seed: PlatformFile) -> None:
    before = connections(stack)
    seed.platform("bad", "bad.example.org", "no-such-key")
    seed.save()
    stack.compose("stop", "janitor")

    done = stack.command("up", timeout=600)

    assert (done.returncode, stack.health("janitor")) == (1, "healthy")
    *before_errors, error = done.stderr.splitlines()
    assert re.fullmatch(r"secrets\.yaml line \d+: platforms\.hpc\.bad\.key names nothing .*", error)
    assert [line for line in before_errors if line.startswith("healthy after")] != []
    assert connections(stack) == before
