"""secrets.yaml without Docker: the same connections; keys at their own place, opened ones in memory."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.embedded.conftest import Embedded
from tests.engine_support import eventually

PHRASE = "correct horse battery"
TEXT = """\
platforms:
  hpc:
    open: {{address: open.example.org, user: me, type: ssh, key: plain}}
    shut: {{address: shut.example.org, user: me, type: ssh, key: locked, jump: hpc-open}}
connections:
  ssh:
    plain: {{path: /run/secrets/plain, file: {folder}/plain}}
    locked: {{path: /run/secrets/locked, file: {folder}/locked, phrase: {phrase}}}
"""


def write_key(path: Path, phrase: str = "") -> None:
    """Write an SSH key, encrypted where there is a phrase."""
    encryption = BestAvailableEncryption(phrase.encode()) if phrase else NoEncryption()
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))
    path.chmod(0o600)


def key_file(stack: Embedded, connection: str) -> str:
    """Return where a connection says that its key lies."""
    extra = stack.api("GET", f"connections/{connection}")["extra"]
    return str(json.loads(extra)["key_file"])


def test_connections_are_registered_with_keys_that_can_be_read(stack: Embedded, tmp_path: Path) -> None:
    write_key(tmp_path / "plain")
    write_key(tmp_path / "locked", PHRASE)
    (stack.folder / "secrets.yaml").write_text(TEXT.format(folder=tmp_path, phrase=PHRASE), encoding="utf-8")

    done = stack.make("connections")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 connections" in done.stdout and PHRASE not in done.stdout + done.stderr
    assert key_file(stack, "hpc-open") == str(tmp_path / "plain")
    opened = Path(key_file(stack, "hpc-shut"))
    eventually(opened.exists, within=15)
    assert opened.stat().st_mode & 0o777 == 0o400
    assert opened.read_bytes() != (tmp_path / "locked").read_bytes()
    assert str(opened).startswith(("/dev/shm/", "/run/user/"))
    assert "ssh -F" in (stack.home / "home" / ".ssh" / "config").read_text()


def test_status_knows_the_keys(stack: Embedded) -> None:
    done = stack.command("status")

    assert "keys " in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("key ")] == []


def test_a_logged_in_try_says_what_is_wrong_with_each_platform(stack: Embedded) -> None:
    done = stack.command("check_platforms", JSON="yes")

    answer = json.loads(done.stdout)["platforms"]
    assert set(answer) == {"hpc-open", "hpc-shut"} and not any(each["usable"] for each in answer.values())


def test_without_the_file_the_keys_are_forgotten_at_the_next_start(stack: Embedded) -> None:
    opened = Path(key_file(stack, "hpc-shut"))
    (stack.folder / "secrets.yaml").unlink()

    stack.up()

    assert "keys" not in stack.pids()
    assert not opened.exists()
