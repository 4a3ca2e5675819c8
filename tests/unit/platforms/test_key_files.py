from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from scripts.platforms import key_files
from scripts.platforms.plan import Key, Phrase, PhraseSource
from tests import ssh_key_support as kit

ROOT = Path(__file__).parents[3]
WHERE = "secrets.yaml line 7: key local-hpc: "
NOW = time.time()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def key_at(path: Path | None, source: PhraseSource = "none", phrase: str | None = None) -> Key:
    value = None if phrase is None else SecretStr(phrase)
    return Key("local-hpc", "local-hpc-ssh", path, Phrase(source, value), 7)


def said(key: Key) -> str:
    problem = key_files.check(key)
    return "" if problem is None else str(problem)


@pytest.mark.parametrize("form", [kit.OPENSSH, kit.PKCS8, kit.PEM], ids=["openssh", "pkcs8", "pem"])
def test_good_key_has_no_problem(home: Path, form: Any) -> None:
    plain = kit.put(home / ".ssh/plain", kit.private(kit.any_key("rsa"), None, form))
    locked = kit.put(home / ".ssh/locked", kit.private(kit.any_key("rsa"), kit.PHRASE, form))
    keys = [key_at(None), key_at(plain), key_at(plain, "literal", "of no use"), key_at(locked, "literal", kit.PHRASE)]

    assert [said(key) for key in keys] == [""] * 4


def test_phrase_of_a_command_that_was_not_asked_may_still_fit(home: Path) -> None:
    locked = kit.put(home / ".ssh/hpc", kit.private(kit.any_key("rsa"), kit.PHRASE))
    public = kit.put(home / ".ssh/hpc.pub", kit.public(kit.any_key("rsa")))

    assert (said(key_at(locked, "command")), said(key_at(public, "command"))) == (
        "",
        WHERE + "~/.ssh/hpc.pub is a public key; write `file: ~/.ssh/hpc`.",
    )


def giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


NOT_A_KEY = " is not a private key; name the file that `ssh-keygen` made, the one without .pub."
CASES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": ("hpc", lambda path: None, "~/.ssh/hpc does not exist; write where the private key lies."),
    "folder": ("hpc", lambda path: path.mkdir(), "~/.ssh/hpc is a folder; name the key file in it."),
    "below-a-file": (
        "hpc/key",
        lambda path: path.parent.write_bytes(b""),
        "~/.ssh/hpc/key does not exist; write where the private key lies.",
    ),
    "certificate": (
        "hpc-cert.pub",
        lambda path: path.write_bytes(kit.certificate(kit.any_key("rsa"))),
        "~/.ssh/hpc-cert.pub is a public key; write `file: ~/.ssh/hpc`.",
    ),
    "public-without-its-end": (
        "hpc",
        lambda path: path.write_bytes(kit.public(kit.any_key("rsa"))),
        "~/.ssh/hpc is a public key; name the private one, usually without .pub.",
    ),
    "putty": (
        "hpc.ppk",
        lambda path: path.write_bytes(b"PuTTY-User-Key-File-3: ssh-rsa"),
        "~/.ssh/hpc.ppk is in PuTTY's own format; "
        "run `puttygen ~/.ssh/hpc.ppk -O private-openssh -o ~/.ssh/hpc` and name ~/.ssh/hpc.",
    ),
    "dsa": (
        "hpc",
        lambda path: path.write_bytes(kit.private(kit.any_key("dsa"), form=kit.PEM)),
        "~/.ssh/hpc is of a kind that Airflow's SSH cannot use; make one with `ssh-keygen -t ed25519`.",
    ),
    "locked": (
        "hpc",
        lambda path: path.write_bytes(kit.private(kit.any_key("rsa"), kit.PHRASE)),
        "~/.ssh/hpc has a passphrase that is not given; add `phrase`, `phrase_file` or `phrase_command`, "
        "or take it off with `ssh-keygen -p -f ~/.ssh/hpc`.",
    ),
    "text": ("hpc", lambda path: path.write_bytes(b"secret text"), f"~/.ssh/hpc{NOT_A_KEY}"),
    "empty": ("hpc", lambda path: path.write_bytes(b""), f"~/.ssh/hpc{NOT_A_KEY}"),
    "fifo": ("hpc", os.mkfifo, f"~/.ssh/hpc{NOT_A_KEY}"),
    "giant": ("hpc", giant, f"~/.ssh/hpc{NOT_A_KEY}"),
}


@pytest.mark.parametrize("case", CASES)
def test_problem_comes_with_its_mend(home: Path, case: str) -> None:
    name, make, expected = CASES[case]
    path = home / ".ssh" / name
    make(path)

    assert said(key_at(path)) == WHERE + expected


@pytest.mark.parametrize(
    ("source", "mend"),
    [
        ("literal", "correct `phrase`"),
        ("environment", "correct the variable that `phrase` names"),
        ("file", "correct the file that `phrase_file` names"),
        ("command", "correct what `phrase_command` asks for"),
    ],
)
def test_wrong_phrase_is_mended_where_it_came_from(home: Path, source: PhraseSource, mend: str) -> None:
    path = kit.put(home / ".ssh/hpc", kit.private(kit.any_key("ecdsa"), kit.PHRASE))

    text = said(key_at(path, source, "wrong-phrase-of-mine"))

    assert text == f"{WHERE}the passphrase does not open ~/.ssh/hpc; {mend}; `ssh-keygen -y -f ~/.ssh/hpc` tries one."


def test_name_that_a_certificate_would_have_is_refused(home: Path) -> None:
    key = Key("local-hpc", "hpc-cert.pub", None, Phrase(), 7)

    assert said(key) == WHERE + "its file in the stack would be named as a certificate is; write another `path`."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read a file")
def test_key_that_somebody_else_owns_is_named_with_its_mend(tmp_path: Path) -> None:
    path = kit.put(tmp_path / "hpc", kit.private(kit.any_key("ecdsa")))
    for parent in [tmp_path, *tmp_path.parents[:-2]]:
        parent.chmod(0o755)
    code = f"""
import os
from pathlib import Path
from scripts.platforms.key_files import check, warnings
from scripts.platforms.plan import Key, Phrase
os.setuid(50000)
key = Key("local-hpc", "local-hpc-ssh", Path({str(path)!r}), Phrase(), 7)
print(check(key), warnings(key))
"""

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    mend = f"run `sudo chown 50000 {path}`, or name a copy"
    assert done.stdout == f"{WHERE}{path} cannot be read by you; {mend}. []\n"


def test_key_and_certificate_in_order_need_no_warning(home: Path) -> None:
    key = kit.any_key("ed25519")
    path = kit.put(home / ".ssh/hpc", kit.private(key))
    told = [key_files.warnings(key_at(path)), key_files.warnings(key_at(None)), key_files.warnings(key_at(home / "no"))]
    for until in (None, NOW + 3 * 3600):
        kit.put(home / ".ssh/hpc-cert.pub", kit.certificate(key, until=until))
        told.append(key_files.warnings(key_at(path)))

    assert told == [[]] * 5


def test_key_that_others_can_read_is_a_warning(home: Path) -> None:
    path = kit.put(home / ".ssh/hpc", kit.private(kit.any_key("ed25519")), 0o640)

    assert key_files.warnings(key_at(path)) == [WHERE + "~/.ssh/hpc can be read by others; run `chmod 600 ~/.ssh/hpc`."]


def test_key_beside_all_files_of_its_owner_is_a_warning(home: Path) -> None:
    path = kit.put(home / "hpc.pem", kit.private(kit.any_key("ed25519")))

    assert key_files.warnings(key_at(path)) == [
        WHERE + "~/hpc.pem lies beside all your files, which its keeper sees, too; move it to ~/.ssh."
    ]
