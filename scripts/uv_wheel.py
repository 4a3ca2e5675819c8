"""uv, where Python has neither venv nor pip: its wheel from the configured package index, checked by its hash.

Only the standard library: make_venv.py uses it before there is anything to use.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import ssl
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from scripts.package_index import read_pip_settings

VERSION = "0.13.8"
GNU_ARM = f"uv-{VERSION}-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl"
# (machine, C library) -> file and SHA-256 of its content
WHEELS = {
    ("x86_64", "glibc"): (
        f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("x86_64", "musl"): (
        f"uv-{VERSION}-py3-none-musllinux_1_1_x86_64.whl",
        "29451c60f5e8b07403e0a175d5229efc36b0289b34143ff4aaa499a5dd52553a",
    ),
    ("aarch64", "glibc"): (GNU_ARM, "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d"),
    ("aarch64", "musl"): (GNU_ARM, "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d"),
}
PROGRAM = f"uv-{VERSION}.data/scripts/uv"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
PATIENCE = 60
NOT_FOUND = 404


class NoWheel(Exception):
    """Why there is no uv, in words that end a sentence."""


class Links(HTMLParser):
    """Collects where the links of an index page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def ensure(program: Path, environment: Mapping[str, str], wheel: tuple[str, str] | None = None) -> Path:
    """Return the program, fetched where it is missing."""
    if program.exists():
        return program
    name, digest = wheel or wheel_of_this_machine()
    data = fetch(name, environment)
    if hashlib.sha256(data).hexdigest() != digest:
        raise NoWheel(f"{name} of the package index is not the file that was tested (its SHA-256 differs)")
    program.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = program.with_name(f".{program.name}.{os.getpid()}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        fresh.write_bytes(archive.read(PROGRAM))
    fresh.chmod(0o755)
    fresh.replace(program)
    return program


def wheel_of_this_machine() -> tuple[str, str]:
    """Return the file for this processor and C library."""
    machine = platform.machine()
    library = "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
    try:
        return WHEELS[platform.system() == "Linux" and machine or "", library]
    except KeyError:
        raise NoWheel(f"uv is not known for {platform.system()} on {machine}") from None


def fetch(name: str, environment: Mapping[str, str]) -> bytes:
    """Return the file from the first place that has it."""
    settings = read_pip_settings(environment)
    places = [*pages(settings, environment)]
    if not places:
        raise NoWheel("no package index is configured (PIP_INDEX_URL, or index-url in pip.conf)")
    reasons = []
    for page in places:
        try:
            found = [link for link in links(page, settings) if unquote(urlsplit(link).path).rpartition("/")[2] == name]
            if found:
                return read(found[0], settings)[0]
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError) and getattr(error, "code", 0) != NOT_FOUND:
                reasons.append(f"{shown(page)} gives no answer ({getattr(error, 'reason', error)})")
    raise NoWheel(reasons[0] if reasons else f"the configured package index has no {name}")


def pages(settings: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield every page that may list the file: of each index its page for uv, and each find-links."""
    own = [environment.get("UV_DEFAULT_INDEX", ""), *environment.get("UV_INDEX", "").split()]
    configured = [*settings.get("index-url", "").split(), *settings.get("extra-index-url", "").split()]
    for index in [*filter(None, own), *configured]:
        yield f"{as_address(index).rstrip('/')}/uv/"
    for place in settings.get("find-links", "").split():
        yield as_address(place)


def as_address(place: str) -> str:
    """Return a local folder as an address."""
    return place if "://" in place else Path(place).resolve().as_uri() + "/"


def links(page: str, settings: Mapping[str, str]) -> list[str]:
    """Return the addresses of the files that a page lists."""
    local = Path(unquote(urlsplit(page).path)) if page.startswith("file:") else None
    if local is not None and local.is_dir() and not (local / "index.html").exists():
        return [path.as_uri() for path in local.iterdir()]
    text, kind = read(f"{page.rstrip('/')}/index.html" if local is not None and local.is_dir() else page, settings)
    if "json" in kind:
        return [urljoin(page, entry["url"]) for entry in json.loads(text)["files"]]
    parser = Links()
    parser.feed(text.decode("utf-8", "replace"))
    return [urljoin(page, link) for link in parser.found]


def read(address: str, settings: Mapping[str, str]) -> tuple[bytes, str]:
    """Return what is at an address, and its kind; a password in the address goes into the header it belongs to."""
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=place)), headers={"Accept": ACCEPT})  # noqa: S310
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    certificates = settings.get("cert", "")
    context = ssl.create_default_context(cafile=certificates if Path(certificates).is_file() else None)
    with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:  # noqa: S310
        return answer.read(), str(answer.headers.get("Content-Type", ""))


def shown(address: str) -> str:
    """Return an address without its password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
