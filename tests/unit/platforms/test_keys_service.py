from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.in_airflow import keys
from tests import ssh_key_support as kit
from tests.keys_support import ASKED, FOLDER, Stack, entry


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def test_key_and_certificate_lie_beside_the_tasks_whole_and_for_the_owner_alone(stack: Stack) -> None:
    key, until = kit.new_key(), kit.in_hours(5)
    kit.put(stack.folder / "hpc", kit.private(key))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(key, until=until))
    stack.list_keys(entry())

    stack.wait()

    assert stack.copies() == {"hpc": kit.half(key), "hpc-cert.pub": beside.read_bytes()}
    assert {path.stat().st_mode & 0o777 for path in stack.secrets.iterdir()} == {0o400}
    assert stack.state() == ("ready", until, "valid")


def test_rewritten_and_renamed_keys_are_followed(stack: Stack) -> None:
    first, second, third = kit.new_key(), kit.new_key(), kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(first))
    stack.list_keys(entry())
    seen = [stack.wait().copies()]

    file.write_bytes(kit.private(second))
    seen.append(stack.wait().copies())
    kit.put(stack.folder / "fresh", kit.private(third)).rename(file)
    seen.append(stack.wait().copies())

    assert seen == [{"hpc": kit.half(key)} for key in (first, second, third)]


def test_unchanged_keys_are_not_read_again(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        kit.put(stack.folder / f"key{number}", kit.private(kit.new_key()))
    stack.list_keys(*(entry(f"key{number}", f"{FOLDER}/key{number}") for number in range(3)))
    stack.wait()
    before = {path.name: path.stat().st_ino for path in stack.secrets.iterdir()}
    monkeypatch.setattr(keys, "CHILD", "/nowhere")

    stack.wait().wait(100)

    assert {path.name: path.stat().st_ino for path in stack.secrets.iterdir()} == before
    assert [stack.state(f"key{number}")[0] for number in range(3)] == ["ready"] * 3


def test_half_written_key_leaves_the_previous_copy(stack: Stack) -> None:
    first, second = kit.new_key(), kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(first))
    stack.list_keys(entry())
    stack.wait()

    file.write_bytes(kit.private(second)[:150])
    half = stack.wait().state(), stack.copies()
    file.write_bytes(kit.private(second))
    whole = stack.wait().state(), stack.copies()

    assert half == (("not-a-key", None, "none"), {"hpc": kit.half(first)})
    assert whole == (("ready", None, "none"), {"hpc": kit.half(second)})


def test_renewed_certificate_comes_without_touching_the_other_files(stack: Stack) -> None:
    key, until = kit.new_key(), kit.in_hours(24)
    kit.put(stack.folder / "hpc", kit.private(key))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(key, until=kit.in_hours(-1)))
    stack.list_keys(entry())
    expired = stack.wait().state()

    beside.write_bytes(kit.certificate(key, until=until))
    stack.wait()

    assert (expired[0], expired[2], stack.state()) == ("ready", "valid", ("ready", until, "valid"))
    assert stack.copies() == {"hpc": kit.half(key), "hpc-cert.pub": beside.read_bytes()}


def test_new_key_waits_for_its_certificate(stack: Stack) -> None:
    first, second = kit.new_key(), kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(first))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(first))
    stack.list_keys(entry())
    pair = stack.wait().copies()

    file.write_bytes(kit.private(second))
    between = stack.wait().wait().copies()
    beside.write_bytes(kit.certificate(second))
    after = stack.wait().copies()

    assert (between, after) == (pair, {"hpc": kit.half(second), "hpc-cert.pub": beside.read_bytes()})


def test_new_key_goes_alone_when_no_certificate_for_it_comes(stack: Stack) -> None:
    first, second = kit.new_key(), kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(first))
    kit.put(stack.folder / "hpc-cert.pub", kit.certificate(first))
    stack.list_keys(entry())
    stack.wait()

    file.write_bytes(kit.private(second))
    stack.wait().wait(31)

    assert (stack.state(), stack.copies()) == (("ready", None, "other-key"), {"hpc": kit.half(second)})


def test_half_written_certificate_leaves_the_previous_one(stack: Stack) -> None:
    key, until = kit.new_key(), kit.in_hours(3)
    kit.put(stack.folder / "hpc", kit.private(key))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(key, until=until))
    stack.list_keys(entry())
    pair = stack.wait().copies()

    beside.write_bytes(beside.read_bytes()[:100])
    stack.wait().wait(100)

    assert (stack.copies(), stack.state()) == (pair, ("ready", until, "not-a-certificate"))


def test_certificate_that_vanishes_goes_after_a_while(stack: Stack) -> None:
    key, until = kit.new_key(), kit.in_hours(3)
    kit.put(stack.folder / "hpc", kit.private(key))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(key, until=until))
    stack.list_keys(entry())
    pair = stack.wait().copies()

    beside.unlink()
    at_first = stack.wait().wait(29).copies()
    later = stack.wait().copies()

    assert (at_first, later, stack.state()) == (pair, {"hpc": kit.half(key)}, ("ready", None, "none"))


def test_key_that_vanishes_goes_after_a_while_and_comes_back(stack: Stack) -> None:
    key = kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(key))
    stack.list_keys(entry())
    stack.wait()

    file.rename(stack.folder / "away")
    at_first = stack.wait().wait(29).copies(), stack.state()
    later = stack.wait().copies(), stack.state()
    (stack.folder / "away").rename(file)
    back = stack.wait().copies(), stack.state()

    missing, ready = ("missing", None, "none"), ("ready", None, "none")
    assert at_first == ({"hpc": kit.half(key)}, missing)
    assert (later, back) == (({}, missing), ({"hpc": kit.half(key)}, ready))


def test_key_that_is_no_longer_listed_goes_at_once(stack: Stack) -> None:
    kept, gone = kit.new_key(), kit.new_key()
    kit.put(stack.folder / "hpc", kit.private(kept))
    kit.put(stack.folder / "old", kit.private(gone))
    kit.put(stack.folder / "old-cert.pub", kit.certificate(gone))
    stack.list_keys(entry(), entry("old", f"{FOLDER}/old"))
    before = set(stack.wait().copies())

    stack.list_keys(entry())
    stack.wait()

    assert (before, stack.copies()) == ({"hpc", "old", "old-cert.pub"}, {"hpc": kit.half(kept)})


def test_leftovers_of_an_earlier_life_go_at_the_start(stack: Stack) -> None:
    kit.put(stack.secrets / "somebody", b"x")
    kit.put(stack.secrets / ".key", b"half of a key")
    kit.put(stack.secrets / "hpc", kit.private(kit.new_key()))
    kit.put(stack.folder / "hpc", kit.private(kit.new_key(), kit.PHRASE))
    stack.wait()
    without_list = {path.name for path in stack.secrets.iterdir()}
    stack.list_keys(entry(phrase=ASKED))

    stack.wait()

    assert (without_list, stack.copies(), stack.state()) == ({"somebody", ".key", "hpc"}, {}, ("locked", None, "none"))


def test_restart_keeps_a_locked_key_that_is_open_beside_the_tasks(stack: Stack) -> None:
    key = kit.new_key()
    kit.put(stack.secrets / "hpc", kit.private(key))
    kit.put(stack.folder / "hpc", kit.private(key, kit.PHRASE))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(key))
    stack.list_keys(entry(phrase=ASKED))

    stack.wait()

    assert stack.copies() == {"hpc": kit.half(key), "hpc-cert.pub": beside.read_bytes()}
    assert stack.state() == ("ready", None, "valid")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"keys": 3}', b'{"keys": [{"target": "x"}]}', b'{"keys": [3]}', b"\xff"]
)
def test_broken_list_leaves_the_last_good_one_in_force(stack: Stack, data: bytes) -> None:
    key = kit.new_key()
    kit.put(stack.folder / "hpc", kit.private(key))
    stack.list_keys(entry())
    stack.wait()

    stack.write_list(data)
    stack.wait()

    assert (stack.state()[0], stack.copies()) == ("ready", {"hpc": kit.half(key)})


def test_list_cannot_name_a_file_elsewhere(stack: Stack) -> None:
    key = kit.new_key()
    kit.put(stack.folder / "hpc", kit.private(key))
    stack.list_keys(*(entry(target) for target in ("../up", ".hidden", "a/b", "x-cert.pub", "", "hpc")))

    stack.wait()

    assert (stack.copies(), (stack.root / "run/up").exists()) == ({"hpc": kit.half(key)}, False)


def test_links_lead_below_the_mounted_folders_as_on_the_host(stack: Stack) -> None:
    first, second = kit.new_key(), kit.new_key()
    for name, key in (("v1", first), ("v2", second)):
        kit.put(stack.host / f"srv/keys/{name}/hpc", kit.private(key))
    current = stack.host / "srv/keys/current"
    current.symlink_to("v1")
    (stack.folder / "hpc").symlink_to("/srv/keys/../links/current/hpc")
    # /srv/links is not mounted itself: only the list says where it leads.
    stack.list_keys(entry(), links={"/srv/links": "keys"})
    before = stack.wait().copies()

    (stack.host / "srv/keys/fresh").symlink_to("v2")
    (stack.host / "srv/keys/fresh").rename(current)
    after = stack.wait().copies()

    assert (before, after) == ({"hpc": kit.half(first)}, {"hpc": kit.half(second)})


# The service itself, as a process.


def eventually(condition: Callable[[], bool]) -> bool:
    """Ask until the condition holds; far longer than it should take, so that a busy machine changes nothing."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


class Service:
    def __init__(self, stack: Stack) -> None:
        self.argv = [sys.executable, "-IS", keys.__file__]
        self.env = {**os.environ, "WINDROSE_KEYS_ROOT": str(stack.root), "WINDROSE_TASK_UID": "4711"}
        self.process = subprocess.Popen(self.argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, command: str, text: str = "") -> tuple[int, Any]:
        argv = [*self.argv, command]
        done = subprocess.run(argv, env=self.env, input=text, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def stop(self) -> tuple[int, bytes]:
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, output


@pytest.fixture
def service(stack: Stack) -> Iterator[Service]:
    started = Service(stack)
    yield started
    started.process.kill()
    started.process.communicate()


def test_service_follows_its_keys_until_it_is_told_to_stop(stack: Stack, service: Service) -> None:
    key, renewed = kit.new_key(), kit.new_key()
    plain = kit.put(stack.folder / "plain", kit.private(key))
    kit.put(stack.folder / "locked", kit.private(key, kit.PHRASE))
    stack.list_keys(entry("plain", f"{FOLDER}/plain"), entry("locked", f"{FOLDER}/locked", ASKED))
    is_up = eventually(lambda: stack.copies() == {"plain": kit.half(key)})

    code, _ = service.ask("unlock", json.dumps({"locked": kit.PHRASE}))
    # It waits some seconds for the service, which a busy machine may exceed.
    is_unlocked = eventually(lambda: service.ask("state")[1]["locked"]["state"] == "ready")
    told = service.ask("state")[1]
    kit.put(stack.folder / "fresh", kit.private(renewed)).rename(plain)
    is_renewed = eventually(lambda: stack.copies() == {"plain": kit.half(renewed), "locked": kit.half(key)})
    plain.unlink()
    is_missing = eventually(lambda: service.ask("state")[1]["plain"]["state"] == "missing")

    ready = {"state": "ready", "certificate_until": None, "certificate": "none"}
    assert (is_up, code, is_unlocked, told) == (True, 0, True, {"plain": ready, "locked": ready})
    assert (is_renewed, is_missing, (stack.secrets / "locked").stat().st_mode & 0o777) == (True, True, 0o440)
    assert {path.name: path.stat().st_mode & 0o777 for path in (stack.root / "run/keys").glob("*.json")} == {
        "phrases.json": 0o600,
        "state.json": 0o600,
    }
    lines = b"keys: plain: ready\nkeys: locked: locked\nkeys: locked: ready\nkeys: plain: missing\n"
    assert service.stop() == (0, lines)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '"secret-phrase"'])
def test_unlock_refuses_what_is_no_phrase_without_repeating_it(stack: Stack, text: str) -> None:
    argv = [sys.executable, "-IS", keys.__file__, "unlock"]
    env = {**os.environ, "WINDROSE_KEYS_ROOT": str(stack.root)}

    done = subprocess.run(argv, env=env, input=text, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", 'keys: stdin is not {"<key>": "<phrase>"}\n')


def test_state_is_empty_before_the_service_runs(stack: Stack) -> None:
    argv = [sys.executable, "-IS", keys.__file__]
    env = {**os.environ, "WINDROSE_KEYS_ROOT": str(stack.root)}

    asked = [
        subprocess.run([*argv, word], env=env, capture_output=True, text=True, check=False)
        for word in ("state", "lock")
    ]

    assert [(done.returncode, done.stdout, done.stderr) for done in asked] == [
        (0, "{}\n", ""),
        (2, "", "keys: write unlock, state or nothing\n"),
    ]
