"""What may stand behind a key of secrets.yaml: its check, and its piece of the JSON schema.

Values come as text, as they are written (`port: 22` is "22"), so the schema takes both spellings. A ValueError says
what to write, never what was found: the value may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

# What Airflow's own import takes as the id of a connection.
ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")
ID_RULE = "letters, digits, dots, dashes and underscores, at most 200"
SECRETS_FOLDER = "/run/secrets/"
HOST_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+@\\-]{0,254}")
_SIMPLE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")
TEXT_SCHEMA = {"type": ["string", "number", "boolean"]}


def number(lowest: int, highest: int, what: str) -> BeforeValidator:
    """Return the check of a whole number."""

    def check(value: object) -> int:
        is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        if not is_number or not lowest <= int(str(value)) <= highest:
            raise ValueError(what)
        return int(str(value))

    return BeforeValidator(check)


def number_schema(lowest: int, highest: int) -> WithJsonSchema:
    """Return what an editor is told of a whole number."""
    named = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"  # ${NAME}, filled in before the checks
    limits = {"minimum": lowest, "maximum": highest, "pattern": rf"^([0-9]+|{named})$"}
    return WithJsonSchema({"type": ["integer", "string"], **limits})


def line(check: Callable[[str], bool], what: str) -> AfterValidator:
    """Return the check of a line of text."""

    def validate(value: str) -> str:
        if not value or any(ord(sign) < 32 for sign in value) or not check(value):
            raise ValueError(what)
        return value

    return AfterValidator(validate)


def _flag(value: object) -> bool:
    if not isinstance(value, str) or value.lower() not in (*_YES, *_NO):
        raise ValueError("true or false")
    return value.lower() in _YES


def is_host(value: str) -> bool:
    """Say whether this is a host name or an IP address, and nothing more."""
    if ":" not in value:
        return _HOST.fullmatch(value) is not None
    try:
        return ip_address(value).version == 6 and "%" not in value
    except ValueError:
        return False


def is_plain_url(value: str) -> bool:
    """Say whether this is a web address without a user, a password or blanks in it."""
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https")
            and is_host(parts.hostname or "")
            and "@" not in parts.netloc
            and parts.port != 0
            and not re.search(r"\s", value)
        )
    except ValueError:  # an impossible port, an open bracket
        return False


def is_registry(value: str) -> bool:
    """Say whether this is the address of an image registry: host, perhaps port and path."""
    return "://" not in value and is_plain_url(f"https://{value}")


def is_secrets_path(value: str) -> bool:
    """Say whether this is a file just below /run/secrets, and not the place of another key's certificate."""
    name = value.removeprefix(SECRETS_FOLDER)
    return value.startswith(SECRETS_FOLDER) and is_key_target(name)


def is_key_target(name: str) -> bool:
    """Say whether a key can be kept under this name."""
    return _SIMPLE_NAME.fullmatch(name) is not None and not name.endswith(".pub")


def is_host_key(value: str) -> bool:
    """Say whether this is `type base64` as known_hosts and `ssh-keyscan` have it, without the host."""
    words = value.split(" ")
    if len(words) != 2 or words[0] not in HOST_KEY_TYPES:
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    if not blob.startswith(len(words[0]).to_bytes(4, "big") + words[0].encode()):
        return False
    from cryptography.exceptions import UnsupportedAlgorithm  # slow to import, and few files have a host_key
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        load_ssh_public_key(value.encode())
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def is_connection_uri(value: str) -> bool:
    """Say whether Airflow takes this as a connection's URI."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+._-]*://", value) or value.count("://") > 2 or "\n" in value:
        return False
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


def _extra(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise ValueError("`name: value` lines below it, or a JSON object as text")
    return value


def _environment_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("names of letters, digits and underscores")
    return name


AS_TEXT = WithJsonSchema(TEXT_SCHEMA)
Port = Annotated[int, number(1, 65535, "a port from 1 to 65535, for example 22"), number_schema(1, 65535)]
Slots = Annotated[int, number(1, 1_000_000, "a whole number from 1, for example 8"), number_schema(1, 1_000_000)]
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": ["boolean", "string"]})]
Lines = Annotated[str, AS_TEXT]  # of any length: a preamble
Text = Annotated[str, AS_TEXT, line(lambda value: len(value) <= 5000, "one line of text")]
Id = Annotated[str, AS_TEXT, line(lambda value: ID.fullmatch(value) is not None, ID_RULE)]
Host = Annotated[str, AS_TEXT, line(is_host, "a host name or an IP address alone, for example lumi.csc.fi")]
User = Annotated[str, AS_TEXT, line(lambda value: _USER.fullmatch(value) is not None, "a login name")]
Url = Annotated[str, AS_TEXT, line(is_plain_url, "an address with https:// (or http://), without user and password")]
Registry = Annotated[
    str, AS_TEXT, line(is_registry, "a host such as registry.example.org, with a port if it needs one")
]
HostKey = Annotated[
    str,
    AS_TEXT,
    line(is_host_key, f"`type base64` as `ssh-keyscan` shows it, the type one of {', '.join(HOST_KEY_TYPES)}"),
]
SecretsPath = Annotated[str, AS_TEXT, line(is_secrets_path, f"{SECRETS_FOLDER}<name>, the key as the container has it")]
Extra = Annotated[object, AfterValidator(_extra), WithJsonSchema({"type": ["object", "string"]})]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
