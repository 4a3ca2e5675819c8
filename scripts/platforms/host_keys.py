"""What is a host key: its kind, its fingerprint, whether it is one at all, and who publishes it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

PUBLISHED = Path(__file__).with_name("published_host_keys.txt")
# In the order of preference: paramiko asks a server for the first one it knows, and for no other.
KINDS = {
    "ssh-ed25519": "ED25519",
    "ecdsa-sha2-nistp256": "ECDSA",
    "ecdsa-sha2-nistp384": "ECDSA",
    "ecdsa-sha2-nistp521": "ECDSA",
    "ssh-rsa": "RSA",
}
_ORDER = list(KINDS)
_FINGERPRINT = re.compile(r"^sha256:(?P<digest>[A-Za-z0-9+/]{43})=?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Published:
    """One fingerprint that a site publishes."""

    kind: str
    fingerprint: str
    source: str


def kind(key: str) -> str:
    """Return ED25519, ECDSA or RSA for `type base64`; '' for any other type."""
    return KINDS.get(key.partition(" ")[0], "")


def fingerprint(key: str) -> str:
    """Return the SHA256 fingerprint of `type base64`, as OpenSSH writes it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def in_order(keys: list[str]) -> list[str]:
    """Return the keys of the three kinds, best first, each once."""
    return sorted({key for key in keys if kind(key)}, key=lambda key: (_ORDER.index(key.split()[0]), key))


def is_well_formed(key_type: str, encoded: str) -> bool:
    """Say whether the base64 text decodes to a key of this type: the type stands in front inside, too."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = key_type.encode()
    return len(data) > 4 + len(name) and data[: 4 + len(name)] == len(name).to_bytes(4, "big") + name


def read_fingerprint(text: str) -> str:
    """Return a fingerprint that a person typed in OpenSSH's spelling; '' where it is none."""
    match = _FINGERPRINT.match(text.strip())
    return f"SHA256:{match['digest']}" if match else ""


def published(address: str) -> list[Published]:
    """Return what is published of a host."""
    found = []
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        words, _, source = line.partition("  # ")
        if words.startswith("#") or not words.strip():
            continue
        names, key_kind, digest = words.split()
        if address.lower() in names.split(","):
            found.append(Published(key_kind, digest, source.strip()))
    return found
