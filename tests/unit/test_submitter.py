"""The submitter's client: which route it asks, and what it makes of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from docs.examples.submitter import client
from docs.examples.submitter.client import get_submitter_route, request_submitter_route
from scripts.settings import ROOT
from tests.api_support import SmallAirflow, small_airflow


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallAirflow]:
    """A server that knows none of the routes."""
    with small_airflow() as server:
        monkeypatch.setattr(client, "ADDRESS", server.address)
        yield server


@pytest.mark.parametrize(
    ("route_type", "name", "replacers", "names", "expected"),
    [
        (None, "setup", {}, [], ("POST", "/setup/config")),
        (
            None,
            "task",
            {"type": "run", "identity": "tasks.submitter-requests"},
            [],
            ("GET", "/interaction/task/run/tasks.submitter-requests"),
        ),
        ("PUT", "orch", {"type": "get", "key": "a"}, ["b", "c"], ("PUT", "/interaction/orch/get/a/b/c")),
        (None, "arti", {"unknown": "x"}, ["a b/c"], ("GET", "/interaction/arti/type/target/a%20b%2Fc")),
    ],
)
def test_route_is_made_of_words(
    route_type: str | None, name: str, replacers: dict[str, str], names: list[str], expected: tuple[str, str]
) -> None:
    assert get_submitter_route(route_type, name, replacers, names) == expected


def test_refusal_is_a_status_and_nothing(server: SmallAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert request_submitter_route(None, "setup", route_input={"user": "me"}) == (401, {})
    assert server.asked == [("POST", "/setup/config")]
    assert capsys.readouterr().out == "Used route: POST:/setup/config\n"


def test_guide_names_every_function_and_every_route() -> None:
    from scripts import airflow_api

    guide = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    service = (ROOT / "docs" / "examples" / "submitter" / "service.py").read_text(encoding="utf-8")
    routes = re.findall(r'@app\.(get|post)\("(/[a-z/]+)', service)

    assert [name for name in airflow_api.__all__ if name not in guide] == []
    assert len(routes) == 4
    assert [path for verb, path in routes if f"{verb.upper()} {path}" not in guide] == []
