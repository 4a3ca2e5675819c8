"""Keys: in memory beside the tasks, opened, fresh, and nowhere else."""

from __future__ import annotations

import pytest

from tests.engine_support import Json, Stack, eventually, run
from tests.platform_support import LOGGED_IN_BY, PlatformFile, lines_with, log_in, welcome
from tests.ssh_support import USER, KeyMaker, Server, Servers, certificate, public

FOLLOWED_WITHIN = 15
PHRASES = {"literal": "opens by a word", "asked": "opens by a question", "file": "opens by a file"}
WITH_KEYS = ("airflow-scheduler", "airflow-triggerer")


@pytest.fixture(scope="module")
def server(servers: Servers, keys: KeyMaker) -> Server:
    """A server that knows our keys."""
    known = [public(keys.make(name, phrase=phrase)) for name, phrase in {**PHRASES, "plain": ""}.items()]
    return servers.start("ssh-plain", keys=tuple(known))


@pytest.fixture(scope="module")
def certified(servers: Servers, keys: KeyMaker) -> Server:
    """A server that knows only the authority, which has signed a certificate that is over."""
    key, authority = keys.make("certified"), keys.make("authority")
    keys.sign(key, authority, valid="-2h:-1h")
    return servers.start("ssh-certified", authority=public(authority))


@pytest.fixture(scope="module")
def registered(platforms: PlatformFile, server: Server, certified: Server, keys: KeyMaker) -> PlatformFile:
    """A platform a key, registered."""
    phrase_file = keys.folder / "phrase.txt"
    phrase_file.write_text(PHRASES["file"] + "\n", encoding="utf-8")
    phrase_file.chmod(0o600)
    manager = keys.folder / "manager.txt"
    manager.write_text(PHRASES["asked"], encoding="utf-8")
    platforms.key("plain", keys.make("plain"))
    platforms.key("literal", keys.make("literal"), phrase=PHRASES["literal"])
    platforms.key("asked", keys.make("asked"), phrase_command=f"cat {manager}")
    platforms.key("file", keys.make("file"), phrase_file=str(phrase_file))
    platforms.key("certified", keys.make("certified"))
    for name in ("plain", *PHRASES):
        platforms.server(name, server, name)
    platforms.server("certified", certified, "certified")
    platforms.register()
    return platforms


def is_let_in(stack: Stack, key: str, server: Server) -> bool:
    """Say whether a task can log in with a key by the ssh program."""
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", f"/run/secrets/{key}"]
    options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    done = stack.exec("airflow-scheduler", "ssh", *options, f"{USER}@{server.name}", "whoami", check=False)
    return done.stdout.strip() == USER


def restart_what_holds_keys(stack: Stack) -> None:
    """Do what a boot of the machine does to memory: nobody has the volume in between."""
    ids = [stack.id(service) for service in (*WITH_KEYS, "keys")]
    run("docker", "stop", *ids)
    run("docker", "start", stack.id("keys"), *ids[:-1])
    eventually(lambda: {stack.health(name) for name in (*WITH_KEYS, "keys")} == {"healthy"}, within=120)


@pytest.fixture(scope="module")
def answers(stack: Stack, registered: PlatformFile) -> dict[str, Json]:
    """What the servers answered at first."""
    return log_in(stack, "hpc-certified", *(f"hpc-{name}" for name in PHRASES))


def test_every_key_is_opened_and_works(answers: dict[str, Json], server: Server) -> None:
    opened = {name: answers[f"hpc-{name}"] for name in PHRASES}

    assert opened == dict.fromkeys(PHRASES, welcome(server.name))


def test_keys_lie_in_memory_and_cannot_be_written(stack: Stack, registered: PlatformFile) -> None:
    for service in WITH_KEYS:
        script = "df --output=fstype /run/secrets | tail -1; stat -c %A /run/secrets/plain; touch /run/secrets/x 2>&1"
        kind, mode, refusal = stack.exec(service, "sh", "-c", script, check=False).stdout.splitlines()

        assert (kind, mode[2], mode[7:]) == ("tmpfs", "-", "---")
        assert "Read-only file system" in refusal


def test_no_other_service_sees_keys_or_the_folder_of_the_person(stack: Stack, registered: PlatformFile) -> None:
    mounts = {
        container["Config"]["Labels"]["com.docker.compose.service"]: {
            mount["Destination"]: (mount["Source"], mount["RW"]) for mount in container["Mounts"]
        }
        for container in stack.inspect()
    }

    keepers = sorted(name for name, found in mounts.items() if "/run/secrets" in found)
    folder = str(registered.content["connections"]["ssh"]["plain"]["file"]).rpartition("/")[0]
    seen = {name: rw for name, found in mounts.items() for source, rw in found.values() if source == folder}
    assert keepers == ["airflow-scheduler", "airflow-triggerer", "keys"]
    assert seen == {"keys": False}


def test_expired_certificate_fails_and_a_renewed_one_works_by_itself(
    stack: Stack, answers: dict[str, Json], certified: Server, keys: KeyMaker
) -> None:
    before, expired = stack.starts(), answers["hpc-certified"]

    keys.sign(keys.make("certified"), keys.make("authority"), valid="-5m:+1h")

    eventually(lambda: is_let_in(stack, "certified", certified), within=FOLLOWED_WITHIN)
    assert [str(expired[way])[:6] for way in LOGGED_IN_BY] == ["failed"] * 3, expired
    assert log_in(stack, "hpc-certified") == {"hpc-certified": welcome(certified.name)}
    assert stack.starts() == before


@pytest.mark.parametrize("how", ["rewritten", "renamed over"])
def test_changed_key_is_followed(
    stack: Stack, registered: PlatformFile, server: Server, keys: KeyMaker, how: str
) -> None:
    old, new = keys.make("plain"), keys.make(how.partition(" ")[0])
    admitted = (server.folder / "authorized_keys").read_text(encoding="utf-8")
    # The server forgets the old key, so that only the new one can get in.
    server.admit(public(new), *(public(keys.make(name)) for name in PHRASES))
    assert not is_let_in(stack, "plain", server)

    if how == "rewritten":
        old.write_bytes(new.read_bytes())
    else:
        (keys.folder / "aside").write_bytes(new.read_bytes())
        (keys.folder / "aside").chmod(0o600)
        (keys.folder / "aside").replace(old)

    eventually(lambda: is_let_in(stack, "plain", server), within=FOLLOWED_WITHIN)
    assert public(new).read_text(encoding="utf-8") not in admitted


def test_key_in_a_new_folder_restarts_only_the_keys_service(
    stack: Stack, registered: PlatformFile, server: Server, keys: KeyMaker
) -> None:
    elsewhere = KeyMaker(keys.folder.parent / "other keys", keys.image).make("elsewhere")
    server.admit(*(public(key) for key in (elsewhere, *map(keys.make, PHRASES))))
    registered.key("elsewhere", elsewhere)
    registered.server("elsewhere", server, "elsewhere")
    before = stack.starts()

    registered.register()

    changed = [name for name, start in stack.starts().items() if start != before.get(name)]
    assert changed == [f"/{stack.project}-keys-1"]
    eventually(lambda: is_let_in(stack, "elsewhere", server), within=FOLLOWED_WITHIN)


def test_boot_locks_only_the_key_whose_phrase_must_be_asked(
    stack: Stack, registered: PlatformFile, server: Server
) -> None:
    restart_what_holds_keys(stack)

    eventually(lambda: is_let_in(stack, "literal", server), within=FOLLOWED_WITHIN)
    eventually(lambda: is_let_in(stack, "file", server), within=FOLLOWED_WITHIN)
    status = stack.command("status")
    assert (status.returncode, len(lines_with(status.stdout, "key asked", "locked"))) == (1, 1)
    assert not is_let_in(stack, "asked", server)

    assert stack.make("connections").returncode == 0
    eventually(lambda: is_let_in(stack, "asked", server), within=FOLLOWED_WITHIN)
    assert lines_with(stack.make("status").stdout, "locked") == []


def test_key_and_certificate_lie_side_by_side(stack: Stack, registered: PlatformFile, keys: KeyMaker) -> None:
    seen = stack.exec("airflow-triggerer", "cat", "/run/secrets/certified-cert.pub").stdout

    assert seen == certificate(keys.make("certified")).read_text(encoding="utf-8")


def test_passphrase_was_never_offered_as_a_password(registered: PlatformFile, servers: Servers) -> None:
    tried = {name: server.ways_tried() for name, server in servers.running.items()}

    assert tried == {"ssh-plain": {"none", "publickey"}, "ssh-certified": {"none", "publickey"}}
