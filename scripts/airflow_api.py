"""Airflow's REST API, for programs on the host."""

from __future__ import annotations

import json
import urllib.request

CREATED = 201


def airflow_get_token(host: str, username: str, password: str) -> str | None:
    """Return a token for the API, or None where user and password are not accepted or nothing answers."""
    body = json.dumps({"username": username, "password": password}).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is our own setting
        f"{host}/auth/token", data=body, headers={"Content-Type": "application/json"}
    )
    # A proxy of the environment must not see the password of a server on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return str(json.load(answer)["access_token"]) if answer.status == CREATED else None
    except (OSError, ValueError, KeyError):
        return None
