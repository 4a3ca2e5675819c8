"""What a build may know but no image may keep: the CA bundle and the package index with its password."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.package_index import read_pip_settings
from scripts.settings import STATE, Settings, environment, host_ca_bundle


@contextmanager
def build_secrets(settings: Settings) -> Iterator[dict[str, Path]]:
    """Give the build secrets as files, and take them away afterwards."""
    secrets: dict[str, Path] = {}
    # A machine behind a company proxy already trusts its certificate; a build on it must, too.
    bundle = Path(settings["BUILD_CA_BUNDLE"]).expanduser() if settings["BUILD_CA_BUNDLE"] else host_ca_bundle()
    if bundle:
        secrets["ca_bundle"] = bundle
    index = settings["PACKAGE_INDEX"] or host_package_index()
    STATE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        if index:
            secrets["package_index"] = Path(folder) / "package_index"
            descriptor = os.open(secrets["package_index"], os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(index)
        yield secrets


def host_package_index() -> str:
    """Return the package index this machine is told to use, or ''."""
    known = environment()
    return known.get("UV_DEFAULT_INDEX", "") or read_pip_settings(known).get("index-url", "")
