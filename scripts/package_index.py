"""How does uv reach the package index that pip is configured for?"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

# pip joins its indexes and takes the best version of all; uv would stop at the first index that knows a name.
LIKE_PIP = "unsafe-best-match"
UV_NAMES = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


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
