"""The stack's own secrets: made once into secrets/, never printed, never silently made anew."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.console import progress
from scripts.errors import KitError, Problems
from scripts.settings import ROOT

FOLDER = ROOT / "secrets"


def _password() -> str:
    return secrets.token_urlsafe(32)


def _short_password() -> str:
    # People type this one. No look-alikes; 20 characters of 54 are 115 bits.
    return "".join(secrets.choice("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(20))


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@dataclass(frozen=True, slots=True)
class Secret:
    """One file of secrets/: how it is made, and what is lost when it is made anew over an existing database."""

    name: str
    make: Callable[[], str]
    loss: str = ""  # '' where a new one costs nothing but signing in again


SECRETS = (
    Secret("database_password", _password, "the way into the database with every run, connection and variable"),
    Secret("fernet_key", _fernet_key, "every password that is stored in a connection or variable"),
    Secret("jwt_secret", _password),
    Secret("api_secret_key", _password),
    Secret("admin_password", _short_password, "the first administrator's password"),
    Secret("broker_password", _password),
)


def ensure(*, uid: int, database_exists: bool) -> None:
    """Make what is missing, unless an existing database would lose something by it."""
    missing = _missing()
    if database_exists:
        _refuse_loss(missing)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    for secret in missing:
        _write(FOLDER / secret.name, secret.make())
        if database_exists:
            progress(f"secrets/{secret.name} was missing and has been made anew; everyone signs in again")
    for path in (FOLDER, *(FOLDER / secret.name for secret in SECRETS)):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, uid, 0)


def _missing() -> list[Secret]:
    missing, problems = [], []
    for secret in SECRETS:
        path = FOLDER / secret.name
        try:
            if not path.read_text(encoding="utf-8").strip():
                missing.append(secret)
        except FileNotFoundError:
            missing.append(secret)
        except OSError as error:
            owner = FOLDER.stat().st_uid
            problems.append(
                KitError(
                    f"secrets/{secret.name}",
                    f"cannot be read by you ({error.strerror}; secrets/ belongs to uid {owner})",
                    f"run make as that user, or `sudo chown -R {os.getuid()} secrets logs data .windrose`",
                )
            )
    if problems:
        raise Problems(problems)
    return missing


def _refuse_loss(missing: list[Secret]) -> None:
    lost = [secret for secret in missing if secret.loss]
    if not FOLDER.exists():
        raise KitError(
            "secrets/",
            f"is missing, but the engine has a database of this name; new secrets would lose {_listed(lost)}",
            "put secrets/ back from your backup, or set COMPOSE_PROJECT_NAME in .env if that is another clone's",
        )
    if lost:
        raise Problems(
            [
                KitError(
                    f"secrets/{secret.name}",
                    f"is missing or empty but the database exists; made anew, it would lose {secret.loss}",
                    "put the file back from your backup, or begin anew with `make clean CONFIRM=yes`",
                )
                for secret in lost
            ]
        )


def _listed(lost: list[Secret]) -> str:
    return ", ".join(secret.loss for secret in lost)


def _write(path: Path, value: str) -> None:
    # Whole or not at all, and never readable by others, not even for a moment.
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    draft.replace(path)


def fingerprint(name: str) -> str:
    """Return a short name of a secret's value that says nothing of it: a change asks for a restart."""
    return hashlib.sha256(read(name).encode()).hexdigest()[:12]


def read(name: str) -> str:
    """Return one secret; only `make credentials` shows one to a person."""
    try:
        return (FOLDER / name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KitError(f"secrets/{name}", f"cannot be read ({error.strerror})", "run `make up` first") from error
