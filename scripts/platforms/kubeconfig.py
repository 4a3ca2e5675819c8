"""Is this kubeconfig whole, and which cluster does it lead to?"""

from __future__ import annotations

from typing import Any

from scripts.platforms.values import Unusable

FLATTEN = "write it with `kubectl config view --raw --flatten`"
_PARTS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_POINTERS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def check(config: object, context: str) -> str:
    """Return the server that a context (or the current one) leads to; raise where the file cannot be used as it is."""
    parts = {name: _named(config, name, inner) for name, inner in _PARTS.items()}
    for part in (parts["clusters"], parts["users"]):
        if any(pointer in entry for entry in part.values() for pointer in _POINTERS):
            raise Unusable("names a kubeconfig that points to other files", FLATTEN)
    current = config.get("current-context") if isinstance(config, dict) else None
    chosen = parts["contexts"].get(context or str(current))
    if chosen is None:
        wrong = "without the `context` of its platform" if context else "without a current context"
        raise Unusable(f"names a kubeconfig {wrong}", "take one that `kubectl config get-contexts` lists")
    server = parts["clusters"].get(str(chosen.get("cluster")), {}).get("server")
    if not isinstance(server, str) or str(chosen.get("user")) not in parts["users"]:
        raise Unusable("names a kubeconfig whose context leads nowhere", FLATTEN)
    return server


def _named(config: object, name: str, inner: str) -> dict[str, dict[str, Any]]:
    """Return the entries of one of the three lists by their names."""
    entries = config.get(name) if isinstance(config, dict) else None
    if not isinstance(entries, list) or not entries:
        raise Unusable(f"names a file without {name}, so it is no kubeconfig", FLATTEN)
    found = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get(inner), dict):
            raise Unusable(f"names a kubeconfig whose {name} are incomplete", FLATTEN)
        found[str(entry.get("name"))] = entry[inner]
    return found
