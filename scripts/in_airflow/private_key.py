"""What is wrong with this private key, and how does it look without its phrase?

The host asks before it hands a key on; in the stack keys.py starts this file for a moment, whenever a key has changed,
so that cryptography never stays in its own memory. No message here ever holds a byte of a key.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

OPENSSH = "OPENSSH PRIVATE KEY"
FOREVER = 2**64 - 1
LARGEST = 1024 * 1024
CURVES = ("secp256r1", "secp384r1", "secp521r1")
# Bounded, so that no odd file makes the search slow.
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY)-----")
_PUBLIC = re.compile(
    rb"(?:ssh|sk|ecdsa)-[\w@.-]{3,60}[ \t]+AAAA|-----BEGIN [A-Z0-9 ]{0,40}PUBLIC KEY|---- BEGIN SSH2 PUB"
)
_OTHER_PROGRAMS = (b"SSH PRIVATE KEY FILE FORMAT", b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY")


class KeyProblem(Exception):
    """A key or a certificate that is of no use as it is.

    kind: locked, wrong-phrase, public, putty, not-a-key, unsupported, not-a-certificate.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Certificate:
    """What an OpenSSH certificate says."""

    until: float | None  # None: for ever
    public: bytes  # the public half of the key that it is for


def open_key(data: bytes, phrase: str | None) -> bytes:
    """Return the key without a phrase, in OpenSSH's format: the one that every SSH program of the stack reads."""
    label, block = _private_block(data)
    if label == OPENSSH:
        _refuse_type(_envelope(block)[1])
    elif label.startswith("DSA"):
        raise KeyProblem("unsupported")
    encrypted = is_encrypted(data)
    if encrypted and not phrase:
        raise KeyProblem("locked")
    load = serialization.load_ssh_private_key if label == OPENSSH else serialization.load_pem_private_key
    try:
        # A phrase that the key does not need is no mistake: it may have been taken off meanwhile.
        key = load(block, phrase.encode() if phrase and encrypted else None)
    except UnsupportedAlgorithm:
        raise KeyProblem("unsupported") from None
    except Exception:
        # Whatever it was: the library's own words might quote the file.
        raise KeyProblem("wrong-phrase" if encrypted else "not-a-key") from None
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise KeyProblem("unsupported")
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        raise KeyProblem("unsupported")
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return key.private_bytes(*formats)


def is_encrypted(data: bytes) -> bool:
    """Say whether a private key needs a phrase."""
    label, block = _private_block(data)
    if label == OPENSSH:
        return _envelope(block)[0] != b"none"
    return label.startswith("ENCRYPTED") or b"4,ENCRYPTED" in block[:200]


def public_half(data: bytes) -> bytes | None:
    """Return the public half that a private key shows without its phrase: OpenSSH's own format alone does."""
    label, block = _private_block(data)
    return _envelope(block)[2] if label == OPENSSH else None


def read_certificate(data: bytes) -> Certificate:
    """Read an OpenSSH user certificate."""
    try:
        found = serialization.load_ssh_public_identity(data.strip())
        is_for_users = isinstance(found, serialization.SSHCertificate) and (
            found.type is serialization.SSHCertificateType.USER
        )
        if not isinstance(found, serialization.SSHCertificate) or not is_for_users:
            raise ValueError
        formats = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        public = base64.b64decode(found.public_key().public_bytes(*formats).split()[1])
    except Exception:
        # Odd bytes raise anything, and the library's own words might quote the file.
        raise KeyProblem("not-a-certificate") from None
    return Certificate(None if found.valid_before == FOREVER else float(found.valid_before), public)


def certificate_until(data: bytes) -> float | None:
    """Return when a certificate ends, in seconds since 1970; None for one that never does."""
    return read_certificate(data).until


def written_phrase(text: bytes, name: str, target: str) -> str | None:
    """Return the phrase that secrets.yaml itself holds for a key; None where it says how to get it, or nothing.

    Read as text: `phrase: 0123` is those four digits, not a number.
    """
    # By name: the stubs that mypy wants lie beside one of the two Pythons that check this file only.
    yaml = importlib.import_module("yaml")
    try:
        tree = yaml.compose(text, Loader=yaml.BaseLoader)
        for section in ("ssh", "sftp"):
            entry = _entry(_entry(_entry(tree, "connections"), section), name)
            path, phrase = _entry(entry, "path"), _entry(entry, "phrase")
            lies_at = str(path.value) if path is not None else name
            if lies_at.rpartition("/")[2] == target and phrase is not None:
                return _plain_phrase(phrase)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return None


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Open one key with the first phrase that fits, and judge the certificate beside it; of a token, see its end."""
    data = base64.b64decode(request["key"])
    if request.get("kind") == "token":
        return _token_answer(data)
    previous = _decoded(request.get("previous"))
    try:
        opened = _opened(data, request, previous)
    except KeyProblem as problem:
        return {"state": problem.kind}
    public = public_half(opened)
    word, until = _judge(_decoded(request.get("certificate")), public)
    same = previous is not None and _half_or_none(previous) == public
    key = base64.b64encode(opened).decode()
    return {"state": "ready", "key": key, "same": same, "certificate": word, "until": until}


def _token_answer(data: bytes) -> dict[str, Any]:
    words = data.split()
    if len(words) != 1 or not words[0].isascii():
        return {"state": "not-a-token"}
    key = base64.b64encode(words[0] + b"\n").decode()
    return {"state": "ready", "key": key, "same": True, "certificate": "none", "until": token_until(words[0])}


def token_until(token: bytes) -> float | None:
    """Return when a token ends, in seconds since 1970; None where it does not say, as those without dots."""
    try:
        body = token.split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _private_block(data: bytes) -> tuple[str, bytes]:
    begin = _BEGIN.search(data)
    if begin:
        end = b"-----END " + begin[1] + b"-----"
        place = data.find(end, begin.end())
        if place < 0:
            raise KeyProblem("not-a-key")
        return begin[1].decode(), data[begin.start() : place + len(end)] + b"\n"
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PuTTY-User-Key-File-"):
        raise KeyProblem("putty")
    if start.startswith(_OTHER_PROGRAMS):
        raise KeyProblem("unsupported")
    raise KeyProblem("public" if _PUBLIC.match(start) else "not-a-key")


def _envelope(block: bytes) -> tuple[bytes, bytes, bytes]:
    """Return cipher, type and public half of a key in OpenSSH's format."""
    try:
        data = binascii.a2b_base64(b"".join(block.splitlines()[1:-1]))
        magic, rest = data[:15], data[15:]
        fields = []
        for _ in range(3):
            text, rest = _string(rest)
            fields.append(text)
        public, _ = _string(rest[4:])
        if magic != b"openssh-key-v1\0" or rest[:4] != b"\0\0\0\1":
            raise ValueError
        return fields[0], _string(public)[0], public
    except ValueError:
        raise KeyProblem("not-a-key") from None


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise ValueError
    return data[4 : 4 + length], data[4 + length :]


def _refuse_type(kind: bytes) -> None:
    if kind == b"ssh-dss" or kind.startswith(b"sk-"):
        raise KeyProblem("unsupported")


def _opened(data: bytes, request: dict[str, Any], previous: bytes | None) -> bytes:
    problem = KeyProblem("locked")
    for phrase in _phrases(data, request):
        try:
            return open_key(data, phrase)
        except KeyProblem as found:
            problem = found
            if found.kind not in ("locked", "wrong-phrase"):
                break
    # The very key that was opened before, as its public half tells: nobody has to be asked again.
    if problem.kind == "locked" and previous is not None and public_half(data) == _half_or_none(previous) is not None:
        return previous
    raise problem


def _phrases(data: bytes, request: dict[str, Any]) -> list[str | None]:
    if not is_encrypted(data):
        return [None]
    phrases = [request.get("phrase")]
    if request.get("phrase_file"):
        phrases.append(_filed_phrase(request["phrase_file"], request.get("phrase_of")))
    return [phrase for phrase in phrases if phrase] or [None]


def _filed_phrase(path: str, phrase_of: list[str] | None) -> str | None:
    try:
        # A FIFO would hold us up for ever.
        with open(path if os.path.isfile(path) else os.devnull, "rb") as file:
            text = file.read(LARGEST)
    except OSError:
        return None
    if phrase_of is not None:
        return written_phrase(text, *phrase_of)
    return text.decode(errors="replace").removesuffix("\n").removesuffix("\r")


def _judge(certificate: bytes | None, public: bytes | None) -> tuple[str, float | None]:
    if certificate is None:
        return "none", None
    try:
        found = read_certificate(certificate)
    except KeyProblem as problem:
        return problem.kind, None
    return ("valid", found.until) if found.public == public else ("other-key", None)


def _half_or_none(data: bytes) -> bytes | None:
    try:
        return public_half(data)
    except KeyProblem:
        return None


def _entry(node: Any, name: str) -> Any:  # noqa: ANN401 - PyYAML's nodes are not typed
    pairs = node.value if node is not None and node.id == "mapping" else []
    return next((value for key, value in pairs if key.value == name), None)


def _plain_phrase(node: Any) -> str | None:  # noqa: ANN401 - PyYAML's nodes are not typed
    if node.id != "scalar" or (node.style is None and node.value in ("", "~", "null", "Null", "NULL")):
        return None
    value = str(node.value)
    if value == "empty" or re.search(r"(?<!\$)\$\{", value):
        return None
    return value.replace("$${", "${")


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def main() -> None:
    """Answer the one request on stdin."""
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
