"""Real SSH keys and certificates for tests, of every kind that people have."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from scripts.in_airflow.private_key import public_half

PHRASE = "correct horse"
OPENSSH = serialization.PrivateFormat.OpenSSH
PKCS8 = serialization.PrivateFormat.PKCS8
PEM = serialization.PrivateFormat.TraditionalOpenSSL
# Sixteen rounds, as ssh-keygen does, would make each test wait.
ONE_ROUND = OPENSSH.encryption_builder().kdf_rounds(1)
MAKERS: dict[str, Any] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "dsa": lambda: dsa.generate_private_key(1024),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


def new_key(kind: str = "ed25519") -> Any:
    """Return a key that no other test has."""
    return MAKERS[kind]()


@functools.cache
def any_key(kind: str) -> Any:
    """Return a key of a kind: always the same, because some take long to make."""
    return new_key(kind)


def private(key: Any, phrase: str | None = None, form: serialization.PrivateFormat = OPENSSH) -> bytes:
    """Return a private key as a file holds it."""
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if phrase is not None:
        password = phrase.encode()
        lock = ONE_ROUND.build(password) if form is OPENSSH else serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, form, lock)


def public(key: Any) -> bytes:
    """Return the public half as a .pub file holds it."""
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b"\n"


def half(key: Any) -> bytes:
    """Return the public half as both sides compare it."""
    return public_half(private(key)) or b""


def certificate(key: Any, *, until: float | None = None, for_hosts: bool = False) -> bytes:
    """Return a certificate for a key; without a time, one that never ends."""
    kinds = serialization.SSHCertificateType
    builder = serialization.SSHCertificateBuilder().public_key(key.public_key()).serial(1).key_id(b"test")
    builder = builder.type(kinds.HOST if for_hosts else kinds.USER).valid_principals([b"user"])
    builder = builder.valid_after(0).valid_before(2**64 - 1 if until is None else int(until))
    return builder.sign(any_key("ed25519")).public_bytes() + b"\n"


def in_hours(hours: float) -> float:
    """Return a time as certificates hold it."""
    return float(int(time.time() + hours * 3600))


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path
