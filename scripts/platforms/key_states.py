"""What the keys service says of each key, in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from scripts.platforms.plan import Key, Plan

MENDS = {
    "locked": ("is locked: its passphrase is not known here", "run `make connections`"),
    "wrong-phrase": (
        "does not open with its passphrase",
        "mend the passphrase in secrets.yaml, run `make connections`",
    ),
    "missing": ("is not where it was", "put {file} back, it is taken up within seconds"),
    "unreadable": ("cannot be read by its owner's services", "run make as the owner of {file}, who alone can read it"),
    "public": ("is a public key", "name the private one, the file without .pub"),
    "not-a-token": ("holds no token of one line", "put the token, and nothing else, into {file}"),
    "not-a-key": ("is not a private key", "put the right file at {file}"),
    "unsupported": (
        "is of a kind or cipher that cannot be opened here",
        "encrypt it as usual with `ssh-keygen -p -Z aes256-ctr -f {file}`, or make one with `ssh-keygen -t ed25519`",
    ),
    "putty": ("is in PuTTY's format", "turn it into OpenSSH's with `puttygen {file} -O private-openssh -o <new file>`"),
    "full": ("does not fit into the memory for keys", "take keys out of secrets.yaml that nothing uses"),
    "failed": ("could not be opened in time", "wait a moment, it is tried again"),
}
CERTIFICATES = {"other-key": "is of another key", "not-a-certificate": "is not a certificate"}
WHAT = {"ssh": "certificate", "token": "token"}
RENEWALS = {
    "ssh": "sign it again and save it as {file}-cert.pub, it is taken up within seconds",
    "token": "put a new one into {file}, it is taken up within seconds",
}
HOUR = 3600
SOON = 2  # hours


def problems(plan: Plan, states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line for each key that cannot be used now; nothing while no service keeps them."""
    if not states:
        return []
    told = [problem(key, states.get(key.target, {})) for key in plan.keys if key.file is not None]
    return [line for line in told if line]


def notes(plan: Plan, states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line for each certificate and token that ends soon."""
    left = [(key, hours_left(states.get(key.target, {}))) for key in plan.keys]
    return [
        f"key {key.name}: its {WHAT[key.kind]} ends in {hours * 60:.0f} min; {renewal(key)}."
        for key, hours in left
        if hours is not None and 0 < hours < SOON
    ]


def renewal(key: Key) -> str:
    """Return what to do about one that ends."""
    return RENEWALS[key.kind].format(file=key.file)


def hours_left(state: Mapping[str, Any]) -> float | None:
    """Return how long a certificate is valid, None where there is none or it never ends."""
    until = state.get("certificate_until")
    return None if until is None else (until - time.time()) / HOUR


def problem(key: Key, state: Mapping[str, Any]) -> str:
    """Return what is wrong with a key and the mend, '' where nothing is."""
    name = state.get("state", "not taken up yet")
    if name != "ready":
        wrong, mend = MENDS.get(name, (f"is {name}", "wait a moment, then see `make status`"))
        return f"key {key.name}: {wrong}; {mend.format(file=key.file)}."
    certificate = CERTIFICATES.get(state.get("certificate", ""))
    if certificate:
        return f"key {key.name}: the certificate beside it {certificate}; save the right one as {key.file}-cert.pub."
    hours = hours_left(state)
    if hours is not None and hours <= 0:
        return f"key {key.name}: its {WHAT[key.kind]} expired {-hours:.1f} h ago; {renewal(key)}."
    return ""
