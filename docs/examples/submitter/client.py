"""How a notebook asks the submitter: its routes by name, the answer as status and dictionary (docs/api.md)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

ADDRESS = os.environ.get("SUBMITTER_ADDRESS", "http://127.0.0.1:7500")
ROUTES = {
    "setup": "POST:/setup/config",
    "task": "GET:/interaction/task/type/identity",
    "orch": "GET:/interaction/orch/type/key",
    "arti": "GET:/interaction/arti/type/target",
}


def get_submitter_route(
    route_type: str | None, route_name: str, path_replacers: Mapping[str, str], path_names: Sequence[str]
) -> tuple[str, str]:
    """Return method and path: words of the path that `path_replacers` knows are replaced, `path_names` come after."""
    method, _, path = ROUTES[route_name].partition(":")
    words = [path_replacers.get(word, word) for word in path.split("/")]
    return route_type or method, "/".join(quote(word, safe="") for word in [*words, *path_names])


def request_submitter_route(
    route_type: str | None,
    route_name: str,
    path_replacers: Mapping[str, str] | None = None,
    path_names: Sequence[str] = (),
    *,
    route_input: Any = None,  # noqa: ANN401
    timeout: float = 60,
) -> tuple[int, dict[str, Any]]:
    """Ask the submitter; return the status, and the answer where it is 200, else {}."""
    method, path = get_submitter_route(route_type, route_name, path_replacers or {}, path_names)
    print(f"Used route: {method}:{path}")  # noqa: T201
    data = None if route_input is None else json.dumps(route_input).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is our own setting
        ADDRESS + path, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
