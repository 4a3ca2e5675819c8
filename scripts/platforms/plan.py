"""Everything that a checked secrets.yaml asks for, in the form its consumers take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

PhraseSource = Literal["none", "literal", "environment", "file", "command"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """How a key's passphrase is found; its value never shows itself."""

    source: PhraseSource = "none"
    value: SecretStr | None = None  # None for "none" and for what was not asked
    file: Path | None = None  # absolute, for source "file"


@dataclass(frozen=True, slots=True)
class Key:
    """An SSH key, with the certificate beside it, or a token, that tasks and triggers log in with."""

    name: str  # as in secrets.yaml: connections.ssh.<name>
    target: str  # its file name below /run/secrets
    file: Path | None  # on this machine; None where it is not named and not at a usual place
    phrase: Phrase
    line: int
    kind: Literal["ssh", "token"] = "ssh"


@dataclass(frozen=True, slots=True)
class SshPlatform:
    """A machine to log in to."""

    id: str
    address: str
    port: int
    user: str
    key: str  # a Key's name, "" where it takes a password
    password: SecretStr | None
    jump: str  # id of the SshPlatform on the way, "" for none
    host_key: str  # "ssh-ed25519 AAAA..." where secrets.yaml pins it itself
    check_host_key: bool
    scheduler: str
    scratch: str
    line: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Any other platform with an address."""

    id: str
    type: str
    host: str
    port: int
    line: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole file, checked."""

    connections: dict[str, dict[str, Any] | str] = field(repr=False)  # id -> Airflow's JSON, or a URI
    pools: dict[str, dict[str, Any]]
    variables: dict[str, Any] = field(repr=False)
    ssh: tuple[SshPlatform, ...]
    keys: tuple[Key, ...]
    endpoints: tuple[Endpoint, ...]
    warnings: tuple[str, ...]


EMPTY = Plan({}, {}, {}, (), (), (), ())
