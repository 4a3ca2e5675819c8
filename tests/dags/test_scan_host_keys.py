"""Does the scan find every host key, and say why it finds none?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.in_airflow import scan_host_keys
from tests.ssh_site import FORWARD, Site, free_port, public


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    built = Site(tmp_path_factory.mktemp("site"))
    yield built
    built.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, agent and configuration of whoever runs this."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def scanned(site: Site, address: str = "127.0.0.1", port: int = 0, timeout: float = 20, **way: Any) -> dict[str, Any]:
    host = {"id": "x", "address": address, "port": port or site.ports["ssh"], "proxy": [], **way}
    return asyncio.run(scan_host_keys.scan({"hosts": [host], "timeout": timeout}))["x"]


def test_every_kind_of_host_key_is_found(site):
    keys = [public(site.host_key), public(site.rsa_key)]

    assert scanned(site, "localhost")["addresses"]["127.0.0.1"] == keys
    assert scanned(site) == {"addresses": {"127.0.0.1": keys}, "silent": {}, "error": ""}


def test_host_keys_are_found_over_another_machine(site):
    proxy = [sys.executable, "-c", FORWARD, str(site.ports["ssh"])]

    assert scanned(site, "only.known.there", proxy=proxy)["addresses"] == {
        "only.known.there": [public(site.host_key), public(site.rsa_key)]
    }


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ("web", "what answers is no SSH server, or takes nobody just now"),
        ("silent", "no answer in time"),
        ("", "the connection is refused"),
    ],
)
def test_scan_says_why_there_is_no_host_key(site, port, reason):
    answer = scanned(site, port=site.ports.get(port) or free_port(), timeout=2 if port == "silent" else 20)

    assert answer == {"addresses": {}, "silent": {"127.0.0.1": reason}, "error": reason}


def test_scan_of_an_unknown_name_says_so(site):
    assert scanned(site, "name.invalid") == {"addresses": {}, "silent": {}, "error": "the name is not found"}


def test_scan_tells_what_the_machine_on_the_way_said(site):
    answer = scanned(site, proxy=["sh", "-c", "echo first >&2; echo Host key verification failed. >&2; exit 255"])

    assert answer["error"] == "the way over the jump host does not open (Host key verification failed.)"
