"""How long is the certificate beside an SSH key still good, and is that long enough?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NO_END = 2**63  # larger numbers mean: for ever
SHARE = 0.1  # of its life, when nobody says how many hours must be left
AT_MOST = timedelta(days=7)


class DamagedCertificate(ValueError):
    """A file that should be a certificate and is none."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when until when a certificate is good; no end is None."""

    begins: datetime
    ends: datetime | None

    def left(self, now: datetime) -> timedelta | None:
        """Return for how long it is good, None where it has no end."""
        return None if self.ends is None else self.ends - now

    def least(self, hours: float | None) -> timedelta:
        """Return how much must be left: so many hours, else a tenth of its life, but not more than a week."""
        if hours is not None:
            return timedelta(hours=hours)
        return timedelta() if self.ends is None else min((self.ends - self.begins) * SHARE, AT_MOST)


def read_certificate(key_file: str) -> Certificate | None:
    """Return the certificate beside a key, None where there is none."""
    from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

    path = Path(f"{key_file}-cert.pub")
    if not key_file or not path.is_file():
        return None
    try:
        found = load_ssh_public_identity(path.read_bytes())
    except Exception as error:  # whatever it is, nobody can log in with it
        raise DamagedCertificate(f"{path.name} cannot be read as a certificate; sign a new one.") from error
    if not isinstance(found, SSHCertificate):
        raise DamagedCertificate(f"{path.name} holds a key and no certificate; sign a new one.")
    ends = None if found.valid_before >= NO_END else datetime.fromtimestamp(found.valid_before, UTC)
    return Certificate(datetime.fromtimestamp(min(found.valid_after, 2**33), UTC), ends)


def problem_of(certificate: Certificate, *, now: datetime, hours: float | None) -> str:
    """Return what is wrong with a certificate in a sentence, '' where it is good for long enough."""
    left = certificate.left(now)
    mend = "sign a new one and save it beside the key, as <key>-cert.pub: it is taken up within seconds"
    if now < certificate.begins:
        return f"the certificate is good only from {shown(certificate.begins)} on; check the clocks, or {mend}."
    if left is None or certificate.ends is None:
        return ""
    if left <= timedelta():
        return f"the certificate ended at {shown(certificate.ends)}; {mend}."
    if left < certificate.least(hours):
        return f"the certificate is good until {shown(certificate.ends)} only, {length(left)} from now; {mend}."
    return ""


def shown(moment: datetime) -> str:
    """Return a time as people read it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def length(duration: timedelta) -> str:
    """Return a length of time as people say it."""
    hours = duration.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours > 72 else f"{hours:.1f} h"
