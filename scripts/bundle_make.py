"""Put a bundle together on a connected machine."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from scripts import bundle_file, bundle_images, bundle_manifest, bundle_release, bundle_wheels, images
from scripts.bundle_file import Source
from scripts.bundle_manifest import CLONE, IMAGES, WHEELS, Manifest, ShippedImage, machine_name
from scripts.bundle_release import RECORD, YOURS
from scripts.settings import ROOT, STATE, Settings


def make(settings: Settings, form: str, python: str) -> tuple[Path, str]:
    """Make the file of a form (compose or embedded); return it and its fingerprint."""
    for left in STATE.glob("bundling-*"):
        shutil.rmtree(left)
    STATE.mkdir(mode=0o700, exist_ok=True)
    release = bundle_release.read_release()
    with tempfile.TemporaryDirectory(prefix="bundling-", dir=STATE) as name:
        folder = Path(name)
        shipped: tuple[ShippedImage, ...] = ()
        bundle_wheels.download(folder / WHEELS, settings, python if form == "embedded" else "")
        sources = {f"{WHEELS}/{path.name}": Source(path) for path in sorted((folder / WHEELS).iterdir())}
        if form == "compose":
            with bundle_images.prepared(settings) as references:
                shipped = bundle_images.describe(references)
                bundle_images.save(references, folder / IMAGES)
            sources[IMAGES] = Source(folder / IMAGES)
        sources = {**clone_sources(release), **sources}
        manifest = Manifest(
            release=release.name,
            commit=release.commit,
            form=form,
            system=platform.system().lower(),
            machine=machine_name(platform.machine()),
            airflow=images.version(images.AIRFLOW),
            python=python if form == "embedded" else "",
            pythons=bundle_wheels.PYTHONS,
            glibc=bundle_wheels.GLIBC if platform.system() == "Linux" else "",
            images=shipped,
            yours=tuple(name for name in YOURS if f"{CLONE}/{name}" in sources),
            files={name: source.entry() for name, source in sources.items()},
        )
        target = ROOT / manifest.file_name
        return target, bundle_file.write(manifest, sources, folder / bundle_manifest.CLONE, target)


def clone_sources(release: bundle_release.Release) -> dict[str, Source]:
    """Return the files of the clone: those of the release, and the packages that a person has added."""
    names = [*release.files, *(name for name in YOURS if (ROOT / name).is_file())]
    found = {}
    for name in sorted(set(names)):
        path = ROOT / name
        if not path.is_symlink():
            mode = 0o755 if bundle_release.is_executable(path) else 0o644
            found[f"{CLONE}/{name}"] = Source(path, mode=mode)
    record = bundle_release.write_record(release)
    found[f"{CLONE}/{RECORD.relative_to(ROOT)}"] = Source(content=record)
    return found
