"""Host keys: who is not known is not spoken to, whom a person trusts is pinned, and a changed one stops everything."""

from __future__ import annotations

import pytest

from tests.engine_support import Stack
from tests.platform_support import LOGGED_IN_BY, PlatformFile, connections, lines_with, log_in, welcome
from tests.ssh_support import KeyMaker, Server, Servers, public

UNKNOWN = {"ssh": "not found in known_hosts", "sftp": "not found in known_hosts", "wait": "not trusted"}
CHANGED = {"ssh": "does not match", "sftp": "does not match", "wait": "not trusted"}


@pytest.fixture(scope="module")
def known(servers: Servers, keys: KeyMaker) -> Server:
    """A server with two other ones that answer to one name."""
    admitted = (public(keys.make("plain")),)
    for number in (1, 2):
        servers.start(f"ssh-twin-{number}", alias="ssh-twins", keys=admitted)
    return servers.start("ssh-known", keys=admitted)


@pytest.fixture(scope="module")
def registered(known: Server, platforms: PlatformFile, keys: KeyMaker) -> Server:
    """That server in secrets.yaml, without its host key."""
    platforms.key("plain", keys.make("plain"))
    platforms.platform("known", known.name, "plain")
    platforms.platform("twins", "ssh-twins", "plain")
    platforms.platform("unchecked", "ssh-twin-1", "plain", check_host_key=False)
    platforms.register()
    return known


@pytest.fixture(scope="module")
def trusted(stack: Stack, registered: Server) -> Server:
    """That server, trusted by its fingerprint."""
    trust(stack, registered)
    return registered


def pins(stack: Stack) -> str:
    """Return what is pinned."""
    path = stack.folder / "secrets" / "known_hosts"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def trust(stack: Stack, server: Server) -> None:
    """Trust the key that the server has now."""
    done = stack.make("trust", "PLATFORM=hpc-known", f"TRUST={server.fingerprint()}")
    assert done.returncode == 0, done.stdout + done.stderr


def reasons(answers: dict[str, object], words: dict[str, str]) -> dict[str, bool]:
    """Say of each way whether it failed for the reason that is expected."""
    return {way: str(answers[way]).startswith("failed") and words[way] in str(answers[way]) for way in LOGGED_IN_BY}


def test_unknown_host_is_refused_and_unchecked_one_is_not(stack: Stack, registered: Server) -> None:
    answers = log_in(stack, "hpc-known", "hpc-unchecked")

    assert reasons(answers["hpc-known"], UNKNOWN) == dict.fromkeys(LOGGED_IN_BY, True), answers
    assert registered.ways_tried() == set()
    assert answers["hpc-unchecked"] == welcome("ssh-twin-1")


def test_status_keeps_mentioning_what_is_not_checked(stack: Stack, registered: Server) -> None:
    done = stack.make("status")

    assert lines_with(done.stdout, "hpc-unchecked", "not checked") != []


def test_trust_without_consent_shows_fingerprints_and_pins_nothing(stack: Stack, registered: Server) -> None:
    done = stack.command("trust", PLATFORM="hpc-known")

    said = done.stdout + done.stderr
    assert (done.returncode, pins(stack)) == (1, "")
    assert (registered.fingerprint() in said, "TRUST=" in said) == (True, True)


def test_trust_of_another_fingerprint_pins_nothing(stack: Stack, registered: Server, servers: Servers) -> None:
    other = servers.running["ssh-twin-1"].fingerprint()

    done = stack.command("trust", PLATFORM="hpc-known", TRUST=other)

    assert (done.returncode, pins(stack)) == (1, "")


def test_different_keys_under_one_name_are_not_pinned(stack: Stack, registered: Server, servers: Servers) -> None:
    fingerprint = servers.running["ssh-twin-1"].fingerprint()

    done = stack.command("trust", PLATFORM="hpc-twins", TRUST=fingerprint)

    assert (done.returncode, pins(stack)) == (1, "")
    assert lines_with(done.stderr, "hpc-twins", "different", "ED25519") != []


def test_trusted_host_is_reached_in_every_way(stack: Stack, platforms: PlatformFile, trusted: Server) -> None:
    assert log_in(stack, "hpc-known") == {"hpc-known": welcome(trusted.name)}
    assert pins(stack) == f"{trusted.name} {trusted.host_key()}\n"
    assert "ssh-ed25519" not in platforms.path.read_text(encoding="utf-8")


def test_connection_names_the_pinned_key_once_registered(
    stack: Stack, platforms: PlatformFile, trusted: Server
) -> None:
    platforms.register()

    assert connections(stack)["hpc-known"]["extra"]["host_key"] == trusted.host_key()


def test_changed_host_key_stops_every_way(stack: Stack, trusted: Server) -> None:
    before, old, tried = pins(stack), trusted.fingerprint(), trusted.log().count("method publickey")
    trusted.change_host_keys()

    answers = log_in(stack, "hpc-known")["hpc-known"]
    told = stack.command("trust", PLATFORM="hpc-known")
    checked = stack.command("check_platforms", PLATFORM="hpc-known")

    assert reasons(answers, CHANGED) == dict.fromkeys(LOGGED_IN_BY, True), answers
    assert trusted.log().count("method publickey") == tried
    assert (told.returncode, checked.returncode, pins(stack)) == (1, 1, before)
    assert lines_with(told.stderr, "hpc-known", old, trusted.fingerprint()) != []
    assert lines_with(checked.stdout, "hpc-known", "another host key") != []


def test_new_host_key_is_taken_by_its_fingerprint(stack: Stack, platforms: PlatformFile, trusted: Server) -> None:
    trust(stack, trusted)
    platforms.register()

    assert connections(stack)["hpc-known"]["extra"]["host_key"] == trusted.host_key()
    assert stack.command("check_platforms", PLATFORM="hpc-known").returncode == 0
