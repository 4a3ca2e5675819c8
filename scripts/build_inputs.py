"""What a build may know but no image may keep: the CA bundle and the package index with its password."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.package_index import host_package_index, write_index_files
from scripts.settings import STATE, Settings, host_ca_bundle


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
            files = write_index_files(Path(folder), index)
            secrets |= {f"{program.lower()}_config": path for program, path in files.items()}
        yield secrets
