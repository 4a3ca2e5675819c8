"""What a build is told in confidence stays out of the image: the package index's password, the CA bundle."""

from __future__ import annotations

import base64
import http.server
import io
import re
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.settings import host_ca_bundle
from tests.engine_support import run

PASSWORD = "planted-index-password"
MARK = "planted-certificate-mark"
WHEELS = {version: f"windrose_probe-{version}-py3-none-any.whl" for version in ("1.0", "2.0")}


def make_wheel(version: str) -> bytes:
    """Return a package; the second version of it wants what the lock does not hold."""
    packed = io.BytesIO()
    info = f"windrose_probe-{version}.dist-info"
    needs = "Requires-Dist: paramiko<3\n" if version == "2.0" else ""
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("windrose_probe.py", "")
        metadata = f"Metadata-Version: 2.1\nName: windrose-probe\nVersion: {version}\n{needs}"
        archive.writestr(f"{info}/METADATA", metadata)
        facts = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", facts)
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """A private index: one package of its own behind a password, everything else from this machine's usual index."""

    usual = ""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.answer(401, b"", {"WWW-Authenticate": "Basic"})
        elif self.path.endswith(".whl"):
            wheel = make_wheel("1.0" if WHEELS["1.0"] in self.path else "2.0")
            self.answer(200, wheel, {"Content-Type": "application/octet-stream"})
        elif "windrose-probe" in self.path:
            links = "".join(f'<a href="/{wheel}">{wheel}</a>' for wheel in WHEELS.values())
            self.answer(200, links.encode(), {"Content-Type": "text/html"})
        else:
            self.answer(302, b"", {"Location": self.usual + self.path.removeprefix("/simple/")})

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def private_index() -> Iterator[str]:
    """The address of a private index, with its password, as a container reaches it."""
    gateway = run(
        "docker", "network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", "bridge"
    ).stdout.strip()
    program = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    Index.usual = run("python3", "-c", program).stdout.strip() + "/"
    server = http.server.ThreadingHTTPServer((gateway, 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:{PASSWORD}@{gateway}:{server.server_port}/simple"
    server.shutdown()


def find_in_layers(image: str, *words: str) -> int:
    """Return how many lines of everything an image is made of hold one of the words."""
    patterns = " ".join(f"-e {word}" for word in words)
    script = f"docker save {image} | grep --text --count --fixed-strings {patterns}"
    done = run("sh", "-c", script, check=False, timeout=600)
    return int(done.stdout)


def test_build_secrets_leave_no_trace(
    build: Any, usual: dict[str, str], base_of: Callable[[str], str], private_index: str
) -> None:
    # On the finished image only the private package is left to install.
    base_of(f"FROM {usual['airflow']}\nUSER airflow\n")
    bundle = host_ca_bundle()
    build.write("bundle.pem", f"# {MARK}\n" + (bundle.read_text(encoding="utf-8") if bundle else ""))
    build.write("packages.local.txt", "windrose-probe==1.0\n")
    build.clone.configure(PACKAGE_INDEX=private_index, BUILD_CA_BUNDLE=str(build.clone.folder / "bundle.pem"))

    done = build.make()
    tag = done.stderr.split("airflow: ")[-1].split()[0]

    assert done.returncode == 0, done.stderr
    installed = run("docker", "run", "--rm", "--entrypoint=python", tag, "-c", "import windrose_probe; print('there')")
    assert installed.stdout == "there\n"
    known = run("docker", "history", "--no-trunc", tag).stdout + run("docker", "image", "inspect", tag).stdout
    assert (PASSWORD in known + done.stdout + done.stderr, MARK in known) == (False, False)
    assert find_in_layers(tag, PASSWORD, MARK) == 0
    assert find_in_layers(tag, "windrose_probe") > 0


def test_conflict_deep_inside_names_both_packages(
    build: Any, usual: dict[str, str], base_of: Callable[[str], str], private_index: str
) -> None:
    base_of(f"FROM {usual['airflow']}\nUSER airflow\n")
    build.write("packages.local.txt", "windrose-probe==2.0\n")
    build.clone.configure(PACKAGE_INDEX=private_index)

    done = build.make()

    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert re.search(r"windrose-probe\S* depends on paramiko<3 and you require paramiko==", told), done.stderr
    assert PASSWORD not in done.stderr


def test_context_of_the_build_holds_nothing_private(build: Any) -> None:
    (build.clone.folder / "secrets").mkdir()
    build.write("secrets/planted", MARK)
    recipe = "FROM windrose/debian:trixie-local\nCOPY . /context\nRUN find /context -type f > /found\n"
    argv = ["docker", "buildx", "build", "--load", "--tag=windrose-test/context:1", "--file=-", str(build.clone.folder)]
    subprocess.run(argv, input=recipe, text=True, capture_output=True, check=True, timeout=300)

    found = run("docker", "run", "--rm", "windrose-test/context:1", "cat", "/found").stdout.split()

    top = {path.split("/")[2] for path in found}
    assert top == {"constraints.txt", "images", "packages.txt", "scripts"}
    assert [path for path in found if "/scripts/" in path and "in_airflow" not in path] == []
