"""May a host key be pinned? Decided from what the machine shows, what is pinned, what is published, what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scripts.platforms.host_keys import Published, fingerprint, in_order, kind

Outcome = Literal["pin", "ask", "kept", "refused"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, with which keys, why; and the mend where nothing may be done."""

    outcome: Outcome
    keys: tuple[str, ...] = ()
    reason: str = ""
    fix: str = ""


def judge(
    shown: Mapping[str, Sequence[str]],
    pinned: Sequence[str],
    published: Sequence[Published],
    *,
    revoked: Sequence[str] = (),
    trusted: Sequence[str] = (),
    again: str = "make trust",
) -> Verdict:
    """Judge what the addresses of one name show; `trusted` are fingerprints that a person vouches for."""
    offered = common(shown)
    if differing := differing_kinds(shown):
        return Verdict(
            "refused",
            reason=f"its addresses show different {' and '.join(differing)} keys, and tasks know only one of them",
            fix="write the name of a single node as `address` in secrets.yaml",
        )
    if not offered:
        fix = "write the name of a single node as `address` in secrets.yaml"
        return Verdict("refused", reason="its addresses have no kind of key in common", fix=fix)
    if set(offered) & set(revoked):
        problem = "shows a key that secrets/known_hosts marks as @revoked"
        return Verdict("refused", reason=problem, fix="ask the site; somebody may hold a stolen key")
    if trusted:
        return vouched(offered, pinned, trusted)
    if pinned:
        return compared(offered, pinned, published, again)
    return looked_up(offered, published, again)


def common(shown: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the keys that every address shows, best first."""
    sets = [set(keys) for keys in shown.values()]
    return in_order(list(set.intersection(*sets))) if sets else []


def differing_kinds(shown: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the kinds of which two addresses show different keys."""
    by_type: dict[str, set[str]] = {}
    for keys in shown.values():
        for key in keys:
            by_type.setdefault(key.split()[0], set()).add(key)
    return list(dict.fromkeys(kind(f"{name} ") for name, keys in by_type.items() if len(keys) > 1))


def vouched(offered: Sequence[str], pinned: Sequence[str], trusted: Sequence[str]) -> Verdict:
    """Take the keys whose fingerprints were given, and no other."""
    keys = tuple(key for key in offered if fingerprint(key) in trusted)
    if not keys:
        return Verdict("refused", reason="shows no key with the fingerprint of TRUST", fix="compare it once more")
    if set(keys) <= set(pinned) <= set(offered):
        return Verdict("kept", tuple(pinned))
    return Verdict("pin", keys, "given by TRUST")


def compared(offered: Sequence[str], pinned: Sequence[str], published: Sequence[Published], again: str) -> Verdict:
    """Compare with the pins; a changed key stops everything."""
    same = tuple(key for key in pinned if key in offered)
    types = {key.split()[0] for key in offered}
    changed = [key for key in pinned if key not in offered and key.split()[0] in types]
    if not changed and len(same) == len(pinned):
        return Verdict("kept", same)
    if not changed and same:
        return Verdict("pin", same, "pinned before; the kinds it no longer shows are dropped")
    old = ", ".join(f"{kind(key)} {fingerprint(key)}" for key in changed or pinned)
    new = ", ".join(f"{kind(key)} {fingerprint(key)}" for key in offered)
    listed = [key for key in offered if source(key, published)]
    told = f"; {source(listed[0], published)} lists the new one" if listed else ""
    return Verdict(
        "refused",
        reason=f"shows another key than the pinned one: {old} was pinned, now it shows {new}{told}. "
        "Either it was installed anew, or somebody sits in between and would read along",
        fix=f"ask the site; if the new key is right, `{again} TRUST={fingerprint((listed or offered)[0])}` accepts it",
    )


def looked_up(offered: Sequence[str], published: Sequence[Published], again: str) -> Verdict:
    """Compare with what the site publishes; without that, a person has to say."""
    listed = tuple(key for key in offered if source(key, published))
    told = {entry.kind for entry in published} & {kind(key) for key in offered}
    wrong = sorted(told - {kind(key) for key in listed})
    if wrong:
        return Verdict(
            "refused",
            reason=f"shows another {' and '.join(wrong)} key than {published[0].source} lists",
            fix=f"ask the site; if the key is right, `{again} TRUST={fingerprint(offered[0])}` accepts it",
        )
    if listed:
        return Verdict("pin", listed, f"published in: {source(listed[0], published)}")
    return Verdict("ask", tuple(offered))


def source(key: str, published: Sequence[Published]) -> str:
    """Return where this very key is published, '' where nowhere."""
    same = [entry.source for entry in published if (entry.kind, entry.fingerprint) == (kind(key), fingerprint(key))]
    return same[0] if same else ""
