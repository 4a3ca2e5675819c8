"""When is a certificate no longer good for long enough?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)

from plugins.windrose import certificates

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sign(folder: Path, *, after: datetime, before: datetime | None) -> str:
    """Put a certificate beside a key that need not be there; return the key's file."""
    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    builder = SSHCertificateBuilder().public_key(key.public_key()).type(SSHCertificateType.USER)
    builder = builder.valid_principals([b"me"]).valid_after(int(after.timestamp()))
    builder = builder.valid_before(int(before.timestamp()) if before else 2**64 - 1)
    (folder / "key-cert.pub").write_bytes(builder.sign(authority).public_bytes())
    return str(folder / "key")


def problem(folder: Path, *, lived: timedelta, left: timedelta, hours: float | None = None) -> str:
    found = certificates.read_certificate(sign(folder, after=NOW - lived, before=NOW + left))
    assert found is not None
    return certificates.problem_of(found, now=NOW, hours=hours)


@pytest.mark.parametrize(
    ("lived", "left", "hours", "is_fine"),
    [
        pytest.param(9 * HOUR, 15 * HOUR, None, True, id="a day's, in the morning"),
        pytest.param(22 * HOUR, 2 * HOUR, None, False, id="a day's, less than a tenth left"),
        pytest.param(21 * HOUR, 3 * HOUR, None, True, id="a day's, more than a tenth left"),
        pytest.param(21 * HOUR, 3 * HOUR, 4, False, id="fewer hours than wanted"),
        pytest.param(23 * HOUR, 1 * HOUR, 0.5, True, id="as many hours as wanted"),
        pytest.param(300 * 24 * HOUR, 65 * 24 * HOUR, None, True, id="a year's, two months left"),
        pytest.param(300 * 24 * HOUR, 8 * 24 * HOUR, None, True, id="a year's, more than a week left"),
        pytest.param(300 * 24 * HOUR, 6 * 24 * HOUR, None, False, id="a year's, less than a week left"),
    ],
)
def test_certificate_is_told_before_it_ends(
    tmp_path: Path, lived: timedelta, left: timedelta, hours: float | None, is_fine: bool
) -> None:
    assert (problem(tmp_path, lived=lived, left=left, hours=hours) == "") is is_fine


def test_sentence_says_until_when_and_what_to_do(tmp_path: Path) -> None:
    assert problem(tmp_path, lived=23 * HOUR, left=HOUR) == (
        "the certificate is good until 2026-03-01 13:00 UTC only, 1.0 h from now; "
        "sign a new one and save it beside the key, as <key>-cert.pub: it is taken up within seconds."
    )


def test_ended_and_future_certificates_are_told_apart(tmp_path: Path) -> None:
    assert problem(tmp_path, lived=24 * HOUR, left=-HOUR).startswith("the certificate ended at 2026-03-01 11:00 UTC;")
    assert "good only from 2026-03-01 13:00 UTC on" in problem(tmp_path, lived=-HOUR, left=24 * HOUR)


def test_certificate_without_an_end_is_good(tmp_path: Path) -> None:
    found = certificates.read_certificate(sign(tmp_path, after=NOW, before=None))

    assert found is not None
    assert (found.ends, certificates.problem_of(found, now=NOW + HOUR, hours=1000)) == (None, "")


def test_key_without_a_certificate_has_none(tmp_path: Path) -> None:
    assert certificates.read_certificate(str(tmp_path / "key")) is None
    assert certificates.read_certificate("") is None


@pytest.mark.parametrize("kind", ["rubbish", "a key"])
def test_what_is_no_certificate_is_told(tmp_path: Path, kind: str) -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (tmp_path / "key-cert.pub").write_bytes(key if kind == "a key" else b"rubbish")

    with pytest.raises(certificates.DamagedCertificate, match=r"key-cert\.pub (cannot be read|holds a key)"):
        certificates.read_certificate(str(tmp_path / "key"))
