"""Is this file a private SSH key that can be opened? Asked on the host, before anything is handed on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scripts.errors import KitError
from scripts.in_airflow.private_key import KeyProblem, open_key
from scripts.platforms.plan import Key

LARGEST = 1024 * 1024
# How to correct a phrase that does not fit, by where it came from.
PHRASE_MENDS = {
    "literal": "correct `phrase`",
    "environment": "correct the variable that `phrase` names",
    "file": "correct the file that `phrase_file` names",
    "command": "correct what `phrase_command` asks for",
}


def check(key: Key) -> KitError | None:
    """Return what keeps a key from being used; without its phrase, what can be told without it."""
    if key.target.endswith("-cert.pub"):
        return _error(key, "its file in the stack would be named as a certificate is", "write another `path`")
    if key.file is None or key.kind == "token":
        return None
    found = _read(key, key.file)
    if isinstance(found, KitError):
        return found
    try:
        open_key(found, _phrase(key))
    except KeyProblem as problem:
        # A command that was not asked yet may still know the phrase.
        if problem.kind == "locked" and key.phrase.source != "none":
            return None
        return _error(key, *_mend(problem.kind, key, key.file))
    return None


def warnings(key: Key) -> list[str]:
    """Return what does not keep a key from being used, but is worth a look; of certificates `key_states` tells."""
    if key.file is None or not os.path.isfile(key.file):
        return []
    where = f"secrets.yaml line {key.line}: key {key.name}: "
    shown = shown_path(key.file)
    told = []
    if stat.S_IMODE(key.file.stat().st_mode) & 0o077:
        told.append(f"{where}{shown} can be read by others; run `chmod 600 {shown}`.")
    if key.file.parent == Path.home():
        told.append(f"{where}{shown} lies beside all your files, which its keeper sees, too; move it to ~/.ssh.")
    return told


def shown_path(path: Path) -> str:
    """Return a path as a person writes it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path != home and path.is_relative_to(home) else str(path)


def _read(key: Key, path: Path) -> bytes | KitError:
    shown = shown_path(path)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return _error(key, f"{shown} is a folder", "name the key file in it")
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return _error(key, *_mend("not-a-key", key, path))
        return path.read_bytes()
    except PermissionError:
        return _error(key, f"{shown} cannot be read by you", f"run `sudo chown {os.getuid()} {shown}`, or name a copy")
    except OSError:
        return _error(key, f"{shown} does not exist", "write where the private key lies")


def _error(key: Key, problem: str, fix: str) -> KitError:
    return KitError(f"secrets.yaml line {key.line}", f"key {key.name}: {problem}", fix)


def _phrase(key: Key) -> str | None:
    return key.phrase.value.get_secret_value() if key.phrase.value is not None else None


def _mend(kind: str, key: Key, path: Path) -> tuple[str, str]:
    shown = shown_path(path)
    bare = shown.removesuffix(".pub").removesuffix("-cert")
    private = f"write `file: {bare}`" if bare != shown else "name the private one, usually without .pub"
    opened = shown.removesuffix(".ppk") if shown.endswith(".ppk") else f"{shown}.openssh"
    mends = {
        "public": (f"{shown} is a public key", private),
        "putty": (
            f"{shown} is in PuTTY's own format",
            f"run `puttygen {shown} -O private-openssh -o {opened}` and name {opened}",
        ),
        "unsupported": (
            f"{shown} is of a kind that Airflow's SSH cannot use",
            "make one with `ssh-keygen -t ed25519`",
        ),
        "locked": (
            f"{shown} has a passphrase that is not given",
            f"add `phrase`, `phrase_file` or `phrase_command`, or take it off with `ssh-keygen -p -f {shown}`",
        ),
        "wrong-phrase": (
            f"the passphrase does not open {shown}",
            PHRASE_MENDS.get(key.phrase.source, "correct `phrase`") + f"; `ssh-keygen -y -f {shown}` tries one",
        ),
        "not-a-key": (f"{shown} is not a private key", "name the file that `ssh-keygen` made, the one without .pub"),
    }
    return mends[kind]
