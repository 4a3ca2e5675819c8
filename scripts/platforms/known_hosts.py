"""Which host keys are pinned: secrets/known_hosts, in OpenSSH's own format, so that a person may edit it, too."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

from scripts.errors import KitError, Problems
from scripts.platforms.host_keys import in_order, is_well_formed, kind
from scripts.settings import ROOT

FILE = ROOT / "secrets" / "known_hosts"
MARKERS = ("@cert-authority", "@revoked")
SSH_PORT = 22
_HASHED = re.compile(r"^\|1\|(?P<salt>[A-Za-z0-9+/=]+)\|(?P<digest>[A-Za-z0-9+/=]+)$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, byte for byte, and what it says."""

    text: str  # with its line end
    names: str = ""  # '' for a comment or an empty line
    key: str = ""  # "type base64"
    marker: str = ""


class KnownHosts:
    """The pinned host keys. Changes are in memory until `write`."""

    def __init__(self, lines: list[Line] | None = None, path: Path = FILE) -> None:
        self.lines = list(lines or [])
        self.path = path

    @classmethod
    def read(cls, path: Path = FILE) -> KnownHosts:
        """Read the file; one that does not exist is empty."""
        try:
            # Names may be in any encoding; every byte that we do not understand stays as it is.
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return cls(path=path)
        except OSError as error:
            raise KitError(
                _shown(path), f"cannot be read by you ({error.strerror})", "run make as the owner of secrets/"
            ) from error
        lines: list[Line] = []
        problems: list[KitError] = []
        for number, part in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), start=1):
            line, problem = _read_line(part)
            lines.append(line)
            if problem:
                fix = "delete the line, then pin the host again with `make trust`"
                problems.append(KitError(f"{_shown(path)} line {number}", problem, fix))
        if problems:
            raise Problems(problems)
        return cls(lines, path)

    def keys(self, address: str, port: int = SSH_PORT) -> list[str]:
        """Return the keys pinned for a host, best first; lines that name it win over lines with wildcards."""
        revoked = set(self.revoked(address, port))
        lines = [line for line in self.lines if line.names and not line.marker]
        for matches in (_names_exactly, _covers):
            found = in_order([line.key for line in lines if matches(line.names, address, port)])
            if found:
                return [key for key in found if key not in revoked]
        return []

    def best(self, address: str, port: int = SSH_PORT) -> str:
        """Return the one key a connection names: ed25519, else ecdsa, else rsa, else ''."""
        keys = self.keys(address, port)
        return keys[0] if keys else ""

    def revoked(self, address: str, port: int = SSH_PORT) -> list[str]:
        """Return the keys marked @revoked for a host: they are never to be trusted again."""
        lines = [line for line in self.lines if line.marker == "@revoked"]
        return [line.key for line in lines if _covers(line.names, address, port)]

    def pin(self, address: str, port: int, keys: list[str]) -> None:
        """Replace what is pinned for a host; every other line stays byte for byte."""
        kept: list[Line] = []
        for line in self.lines:
            if line.marker or not line.names or not kind(line.key) or not _names_exactly(line.names, address, port):
                kept.append(line)
            elif others := _other_names(line.names, address, port):
                # One line may name several hosts; the others keep theirs.
                kept.append(Line(line.text.replace(line.names, others, 1), others, line.key))
        if kept and not kept[-1].text.endswith("\n"):
            kept[-1] = Line(kept[-1].text + "\n", kept[-1].names, kept[-1].key, kept[-1].marker)
        # ssh looks for the name in small letters, paramiko and asyncssh for the name as the connection spells it.
        names = ",".join(dict.fromkeys([host_name(address, port), host_name(address.lower(), port)]))
        # The best one first: paramiko asks the server for the kind of the first line.
        self.lines = kept + [Line(f"{names} {key}\n", names, key) for key in in_order(keys)]

    def text(self) -> str:
        """Return the file's text."""
        return "".join(line.text for line in self.lines)

    def write(self) -> None:
        """Write the file whole or not at all, for its owner's eyes only."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.path, self.text(), uid=folder.stat().st_uid)


def host_name(address: str, port: int) -> str:
    """Return how known_hosts names a host: the port only where it is another than 22."""
    return address if port == SSH_PORT else f"[{address}]:{port}"


def write_whole(path: Path, text: str, *, uid: int | None) -> None:
    """Write a private file whole or not at all; as root, give it to the user it is for."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    if uid is not None and os.geteuid() == 0:
        os.chown(draft, uid, 0)
    draft.replace(path)


def _read_line(text: str) -> tuple[Line, str]:
    """Return the line and what is wrong with it, '' where nothing is."""
    words = text.split()
    if not words or words[0].startswith("#"):
        return Line(text), ""
    marker = words.pop(0) if words[0].startswith("@") else ""
    if marker and marker not in MARKERS:
        return Line(text), "starts with a marker that is neither @cert-authority nor @revoked"
    if len(words) < 3:
        return Line(text), "is not `host type key`"
    names, key_type, encoded = words[:3]
    # A broken hash or key in one line makes the SSH libraries refuse the whole file, for every host.
    if names.startswith("|") and not _is_hash(names):
        return Line(text), "has a hashed host name that is damaged"
    if key_type.isdecimal():
        return Line(text), ""  # a key of SSH 1, which every program passes over
    if not is_well_formed(key_type, encoded):
        return Line(text), "has a key that is damaged or not of its type"
    return Line(text, names, f"{key_type} {encoded}", marker), ""


def _is_hash(names: str) -> bool:
    match = _HASHED.match(names)
    try:
        return match is not None and len(base64.b64decode(match["digest"])) == 20 and bool(match["salt"])
    except (binascii.Error, ValueError):
        return False


def _names_exactly(names: str, address: str, port: int) -> bool:
    name = host_name(address, port)
    match = _HASHED.match(names)
    if match:
        # The format's own hash; it hides names and protects nothing.
        salt = base64.b64decode(match["salt"])
        digests = [hmac.new(salt, spelt.encode(), hashlib.sha1).digest() for spelt in (name, name.lower())]
        return base64.b64decode(match["digest"]) in digests
    return name.lower() in names.lower().split(",")


def _covers(names: str, address: str, port: int) -> bool:
    if names.startswith("|"):
        return _names_exactly(names, address, port)
    name = host_name(address, port).lower()
    patterns = names.lower().split(",")
    if any(_fits(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_fits(pattern, name) for pattern in patterns)


def _fits(pattern: str, name: str) -> bool:
    # Only * and ? are special in known_hosts; the brackets belong to the name.
    return re.match(translate(pattern.replace("[", "[[]")), name) is not None


def _other_names(names: str, address: str, port: int) -> str:
    if names.startswith("|"):
        return ""
    name = host_name(address, port).lower()
    return ",".join(other for other in names.split(",") if other.lower() != name)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
