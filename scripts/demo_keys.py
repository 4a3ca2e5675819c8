"""A key and a certificate for the demo cluster, made without ssh-keygen, which a machine may not have."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def new_key() -> bytes:
    """Return a new private key, as OpenSSH writes it."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())


def load(private: bytes) -> Ed25519PrivateKey:
    """Return a key of ours."""
    key = form.load_ssh_private_key(private, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("the demo's keys are all of one kind")
    return key


def public(private: bytes) -> bytes:
    """Return the public half of a key, as a line."""
    return load(private).public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH) + b"\n"


def sign(private: bytes, authority: bytes, user: str, *, after: int, before: int) -> bytes:
    """Return a certificate that lets the key's owner in as a user, from one time to another."""
    builder = (
        form.SSHCertificateBuilder()
        .public_key(load(private).public_key())
        .type(form.SSHCertificateType.USER)
        .key_id(b"windrose demo")
        .valid_principals([user.encode()])
        .valid_after(after)
        .valid_before(before)
        .add_extension(b"permit-port-forwarding", b"")
        .add_extension(b"permit-pty", b"")
    )
    return builder.sign(load(authority)).public_bytes() + b"\n"
