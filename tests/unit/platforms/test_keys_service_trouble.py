from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.in_airflow import keys, private_key
from tests import ssh_key_support as kit
from tests.keys_support import ASKED, FOLDER, Stack, entry


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def odd_folder(path: Path) -> None:
    path.mkdir()


def odd_fifo(path: Path) -> None:
    os.mkfifo(path)


def odd_giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


def odd_circle(path: Path) -> None:
    path.symlink_to(path.name)


def odd_way_out(path: Path) -> None:
    path.symlink_to("../" * 30 + "etc/passwd")


ODD = {odd_folder: "not-a-key", odd_fifo: "not-a-key", odd_giant: "not-a-key", odd_circle: "missing"}
ODD |= {odd_way_out: "missing"}


@pytest.mark.parametrize("make", ODD)
def test_odd_file_is_named_and_holds_nothing_up(stack: Stack, make: Callable[[Path], None]) -> None:
    make(stack.folder / "hpc")
    good = kit.new_key()
    kit.put(stack.folder / "good", kit.private(good))
    stack.list_keys(entry(), entry("good", f"{FOLDER}/good"))

    stack.wait()

    assert (stack.state()[0], stack.copies()) == (ODD[make], {"good": kit.half(good)})


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (lambda: kit.public(kit.any_key("rsa")), "public"),
        (lambda: b"PuTTY-User-Key-File-3: ssh-rsa", "putty"),
        (lambda: kit.private(kit.any_key("dsa"), form=kit.PEM), "unsupported"),
        (lambda: kit.private(kit.any_key("rsa"), kit.PHRASE), "locked"),
    ],
    ids=["public", "putty", "dsa", "encrypted"],
)
def test_file_that_cannot_be_kept_says_why(stack: Stack, data: Callable[[], bytes], state: str) -> None:
    kit.put(stack.folder / "hpc", data())
    stack.list_keys(entry())

    stack.wait()

    assert (stack.state(), stack.copies()) == ((state, None, "none"), {})


def test_phrase_is_taken_from_the_asked_the_file_and_the_secrets_file(stack: Stack) -> None:
    one = kit.new_key()
    for name in ("asked", "filed", "written"):
        kit.put(stack.folder / name, kit.private(one, kit.PHRASE))
    kit.put(stack.folder / "phrase", f"{kit.PHRASE}\n".encode())
    kit.put(
        stack.host / "srv/secrets.yaml",
        f"connections: {{ssh: {{w: {{path: x/written, phrase: {kit.PHRASE}}}}}}}".encode(),
    )
    stack.ask(asked=kit.PHRASE, unheard="of")
    stack.list_keys(
        entry("asked", f"{FOLDER}/asked", ASKED),
        entry("filed", f"{FOLDER}/filed", {"source": "file", "path": f"{FOLDER}/phrase"}),
        entry("written", f"{FOLDER}/written", {"source": "secrets.yaml", "key": "w"}),
        secrets_file="/srv/secrets.yaml",
    )

    stack.wait()

    assert stack.copies() == dict.fromkeys(("asked", "filed", "written"), kit.half(one))


def test_changed_phrase_is_tried_again(stack: Stack) -> None:
    key = kit.new_key()
    kit.put(stack.folder / "hpc", kit.private(key, kit.PHRASE))
    phrase = kit.put(stack.folder / "phrase", b"wrong")
    stack.list_keys(entry(phrase={"source": "file", "path": f"{FOLDER}/phrase"}))
    wrong = stack.wait().state()[0]

    phrase.write_bytes(kit.PHRASE.encode())
    right = stack.wait().state()[0]

    assert (wrong, right, stack.copies()) == ("wrong-phrase", "ready", {"hpc": kit.half(key)})


def test_phrase_that_was_asked_for_opens_a_locked_key(stack: Stack) -> None:
    kit.put(stack.folder / "hpc", kit.private(kit.new_key(), kit.PHRASE))
    stack.list_keys(entry(phrase=ASKED))
    states = [stack.wait().state()[0]]

    for phrase in ("wrong", kit.PHRASE):
        stack.ask(hpc=phrase)
        states.append(stack.wait().state()[0])

    assert states == ["locked", "wrong-phrase", "ready"]


def test_full_memory_leaves_the_previous_pair(stack: Stack) -> None:
    first, second = kit.new_key(), kit.new_key()
    file = kit.put(stack.folder / "hpc", kit.private(first))
    beside = kit.put(stack.folder / "hpc-cert.pub", kit.certificate(first))
    stack.list_keys(entry())
    pair = stack.wait().copies()
    blocker = stack.secrets / ".certificate"
    blocker.mkdir()

    file.write_bytes(kit.private(second))
    beside.write_bytes(kit.certificate(second))
    full = stack.wait().state()[0], private_key.public_half((stack.secrets / "hpc").read_bytes())
    blocker.rmdir()
    stack.wait(31)

    assert (full, stack.state()[0]) == (("full", kit.half(first)), "ready")
    assert (set(pair), stack.copies()["hpc"]) == ({"hpc", "hpc-cert.pub"}, kit.half(second))


def test_child_that_fails_is_tried_again(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    key = kit.new_key()
    kit.put(stack.folder / "hpc", kit.private(key))
    stack.list_keys(entry())
    with monkeypatch.context() as broken:
        broken.setattr(keys, "CHILD", "/nowhere")
        failed = stack.wait().state()[0]

    stack.wait(31)

    assert (failed, stack.state()[0], stack.copies()) == ("failed", "ready", {"hpc": kit.half(key)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read a file")
def test_key_that_is_not_ours_to_read_is_told_apart(stack: Stack) -> None:
    kit.put(stack.folder / "hpc", kit.private(kit.new_key()))
    stack.list_keys(entry())
    for path in (stack.root, *stack.root.rglob("*")):
        os.chown(path, 50000 if path.name != "hpc" else 0, 0)
    for parent in stack.root.parents[:-2]:
        parent.chmod(0o755)

    os.seteuid(50000)
    try:
        stack.wait()
    finally:
        os.seteuid(0)

    assert stack.state() == ("unreadable", None, "none")


def test_nothing_secret_is_printed(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    kit.put(stack.folder / "hpc", kit.private(kit.new_key(), kit.PHRASE))
    kit.put(stack.folder / "text", b"my secret text")
    stack.list_keys(entry(phrase=ASKED), entry("text", f"{FOLDER}/text"))
    stack.ask(hpc=kit.PHRASE)

    stack.wait()

    assert capfd.readouterr() == ("keys: hpc: ready\nkeys: text: not-a-key\n", "")
