"""How do uv and pip reach the package index: as `.env` says, else as pip is configured on this machine?

Only the standard library: make_venv.py uses it before there is anything to use.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scripts.settings import STATE, Settings, environment

# pip joins its indexes and takes the best version of all; uv would stop at the first index that knows a name.
LIKE_PIP = "unsafe-best-match"
UV_NAMES = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}

CACHES = {"PIP_CACHE_DIR": str(STATE / "pip-cache"), "UV_CACHE_DIR": str(STATE / "uv-cache")}  # in the clone
# uv reads the first; pip the second, which in the library below it gives way to the third of a machine's own.
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@contextmanager
def index_environment(settings: Settings) -> Iterator[dict[str, str]]:
    """Give the environment in which uv and pip reach the index; its password travels in files of our own."""
    known = uv_environment({**CACHES, **environment()})
    known |= {key: settings[key] for key in PROXIES if settings[key]}
    if settings["BUILD_CA_BUNDLE"]:
        known |= dict.fromkeys(CERTIFICATES, str(Path(settings["BUILD_CA_BUNDLE"]).expanduser()))
    index = settings["PACKAGE_INDEX"] or host_package_index()
    STATE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="index-", dir=STATE) as folder:
        if index:
            for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PACKAGE_INDEX"):
                known.pop(name, None)
            for name, path in write_index_files(Path(folder), index).items():
                known[f"{name}_CONFIG_FILE"] = str(path)
        yield known


def write_index_files(folder: Path, index: str) -> dict[str, Path]:
    """Write what tells UV and PIP the index; return the files."""
    texts = {
        "UV": ("uv.toml", f"[[index]]\nurl = {json.dumps(index)}\ndefault = true\n"),
        "PIP": ("pip.conf", f"[global]\nindex-url = {index}\n"),
    }
    return {program: Path(write_private(folder / name, text)) for program, (name, text) in texts.items()}


def without_password(text: str) -> str:
    """Return what a program said, without the password of an address in it."""
    return re.sub(r"://[^/\s@]+@", "://***@", text)


def host_package_index() -> str:
    """Return the package index this machine is told to use, or ''."""
    known = environment()
    return known.get("UV_DEFAULT_INDEX", "") or read_pip_settings(known).get("index-url", "")


def write_private(path: Path, text: str) -> str:
    """Write a file that only this user can read; return its name."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv uses pip's index, mirrors and certificates; what is set for uv itself wins."""
    settings = read_pip_settings(environment)
    found: dict[str, str] = {"UV_SYSTEM_CERTS": "true", "UV_PYTHON_DOWNLOADS": "never"}
    for option, name in UV_NAMES.items():
        places = [place for place in settings.get(option, "").split() if is_there(place)]
        if places:
            found[name] = ("," if option == "find-links" else " ").join(places)
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = LIKE_PIP
    if settings.get("trusted-host"):
        found["UV_INSECURE_HOST"] = settings["trusted-host"]
    certificates = settings.get("cert", "")
    if certificates and Path(certificates).is_file():
        found["SSL_CERT_FILE"] = certificates
    return {**found, **environment}


def read_pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's options: its files, the later over the earlier, under PIP_ variables."""
    settings: dict[str, str] = {}
    for path in pip_files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({_option(name): " ".join(value.split()) for name, value in parser.items(section)})
    prefix = "PIP_"
    for name, value in environment.items():
        if name.startswith(prefix):
            settings[_option(name.removeprefix(prefix))] = value
    return settings


def _option(name: str) -> str:
    return name.lower().replace("_", "-")


def pip_files(environment: Mapping[str, str]) -> list[Path]:
    """Return where pip looks for its configuration, in its order."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    try:
        home = Path(environment.get("HOME") or Path.home())
    except RuntimeError:  # neither HOME nor a name for this user: a container's number, a broken directory service
        home = Path("/nonexistent")
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]
    return [*files, Path(named)] if named else files


def is_there(place: str) -> bool:
    """Say whether a place can be used: pip passes over a local folder that is missing, uv stops."""
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path)).exists()
    return True
