"""Take up a bundle on this machine: refuse what does not fit before anything is changed, then load."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts import bundle_file, bundle_images, bundle_manifest, images, process
from scripts.bundle_file import Bundle
from scripts.bundle_manifest import CLONE, LOADED, LOADED_WHEELS, WHEELS, Manifest, machine_name
from scripts.bundle_release import CHANGED, read_release
from scripts.console import progress
from scripts.containers import ask_engine
from scripts.engine_check import check_engine
from scripts.errors import KitError, Problems
from scripts.settings import ROOT, STATE

ROOM_TO_SPARE = 200 * 1000**2
REQUIREMENTS = ROOT / "scripts" / "requirements.txt"


def check_machine(bundle: Bundle) -> None:
    """Say everything for which this machine or this clone cannot take the bundle."""
    manifest = bundle.manifest
    problems = [*machine_problems(manifest), *python_problems(manifest), *release_problems(bundle)]
    if manifest.form == "compose" and not problems:
        problems = engine_problems(manifest)
    problems += [] if problems else disk_problems(manifest)
    if problems:
        raise Problems(problems)


def machine_problems(manifest: Manifest) -> list[KitError]:
    """Compare the kind of machine."""
    here = platform.system().lower(), machine_name(platform.machine())
    if here == (manifest.system, manifest.machine):
        return []
    fix = "make the bundle on a machine of this kind"
    text = f"is for {manifest.system} on {manifest.machine}, this machine is {here[0]} on {here[1]}"
    return [KitError("bundle", text, fix)]


def python_problems(manifest: Manifest) -> list[KitError]:
    """Look for the Python, and the C library, that the wheels are for."""
    problems = []
    own = "{}.{}".format(*sys.version_info[:2])
    if own not in manifest.pythons:
        text = f"is {own}, the bundle's wheels are for {', '.join(manifest.pythons)}"
        problems.append(KitError("python3", text, f"install python{manifest.pythons[-1]}"))
    if manifest.python and manifest.python != own and not find_python(manifest.python):
        fix = f"install python{manifest.python}, or make the bundle with PYTHON_VERSION={own}"
        problems.append(KitError("bundle", f"holds Airflow for Python {manifest.python}, which is not here", fix))
    name, version = platform.libc_ver()
    if manifest.glibc and (name != "glibc" or numbers(version) < numbers(manifest.glibc)):
        text = (
            f"the wheels need glibc {manifest.glibc} or newer, here is {name or 'another C library'} {version}".strip()
        )
        problems.append(KitError("bundle", text, "use a newer Linux"))
    return problems


def find_python(version: str) -> str:
    """Return where a Python is that really runs (a version manager's shim may not), '' where none is."""
    path = shutil.which(f"python{version}") or ""
    return path if path and process.run([path, "-c", ""], check=False).code == 0 else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def release_problems(bundle: Bundle) -> list[KitError]:
    """Compare the release, and every file that decides what the images and wheels must be."""
    manifest, here = bundle.manifest, read_release()
    fix = f"unpack the bundle's own: tar -xf {bundle.path} -C {ROOT.parent} {CLONE}"
    if ROOT.name != CLONE:
        fix = f"unpack the bundle's own into a folder beside this one: tar -xf {bundle.path} {CLONE}"
    if here.commit not in (manifest.commit, f"{manifest.commit}{CHANGED}"):
        return [KitError("bundle", f"is of release {manifest.release}, this folder is {here.name}", fix)]
    wanted = {name: entry.sha256 for name, entry in manifest.below(CLONE).items() if is_input(name)}
    names = {f"{CLONE}/{path.relative_to(ROOT)}": path for path in input_files()}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()}
    different = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    return [KitError(name.removeprefix(f"{CLONE}/"), "is not what the bundle was made with", fix) for name in different]


def input_files() -> list[Path]:
    """Return the files of this clone that decide what must be loaded."""
    names = (images.PACKAGES.dockerfile, *images.PACKAGES.inputs, "scripts/requirements.txt")
    return [path for name in names for path in images.files_below(ROOT / name)]


def is_input(name: str) -> bool:
    """Say whether a file of the bundle is one of these."""
    path = name.removeprefix(f"{CLONE}/")
    inputs = (images.PACKAGES.dockerfile, *images.PACKAGES.inputs, "scripts/requirements.txt")
    return any(path == known or path.startswith(f"{known}/") for known in inputs)


def engine_problems(manifest: Manifest) -> list[KitError]:
    """Need an engine of the right kind."""
    state = check_engine()
    if state.missing:
        fix = "start or install it, or make the bundle with FOR=embedded, which needs none"
        return [KitError("Docker", ", ".join(state.missing), fix)]
    kind = machine_name(process.run(["docker", "version", "--format={{.Server.Arch}}"]).stdout.strip())
    if kind != manifest.machine:
        text = f"the engine runs on {kind}, the bundle is for {manifest.machine}"
        return [KitError("Docker", text, "make the bundle on a machine of this kind")]
    return []


def disk_problems(manifest: Manifest) -> list[KitError]:
    """Say where there is too little room; an engine's folder that we cannot see is passed over."""
    wheels = sum(entry.size for entry in manifest.below(WHEELS).values())
    needed: dict[Path, int] = {ROOT: wheels + ROOM_TO_SPARE}
    if manifest.images and not bundle_images.are_here(manifest):
        folder = ask_engine().folder
        if folder.exists():
            needed[folder] = manifest.loaded_size + ROOM_TO_SPARE
    if len({place.stat().st_dev for place in needed}) == 1:
        needed = {ROOT: sum(needed.values())}
    return [
        KitError(
            str(place),
            f"{free / 1000**3:.1f} GB are free, the bundle needs {size / 1000**3:.1f} GB",
            "free some space and run it again",
        )
        for place, size in needed.items()
        if (free := shutil.disk_usage(place).free) < size
    ]


def load(bundle: Bundle, places: Mapping[str, int]) -> None:
    """Load wheels and images; the manifest is kept last, so that a killed run is simply repeated."""
    before = bundle_manifest.loaded()
    STATE.mkdir(mode=0o700, exist_ok=True)
    for left in STATE.glob("loading-*"):
        shutil.rmtree(left)
    try:
        with tempfile.TemporaryDirectory(prefix="loading-", dir=STATE) as folder:
            fresh = Path(folder) / "wheels"
            unpack_wheels(bundle, places, fresh)
            if bundle.manifest.images:
                bundle_images.load(bundle, places)
            swap(fresh, LOADED_WHEELS, Path(folder) / "old")
    except OSError as error:
        raise bundle_file.disk_error(error, STATE) from error
    if before:
        remove_outdated(before, bundle.manifest)
    os.utime(REQUIREMENTS)  # make then brings .venv up to date
    new = LOADED.with_suffix(".new")
    new.write_bytes(bundle.manifest.to_json())
    new.replace(LOADED)


def unpack_wheels(bundle: Bundle, places: Mapping[str, int], folder: Path) -> None:
    """Write the wheels into a folder of their own."""
    folder.mkdir()
    names = bundle.manifest.below(WHEELS)
    progress(f"unpacking {len(names)} wheels")
    for name in names:
        with (folder / name.rpartition("/")[2]).open("wb") as file:
            for piece in bundle_file.read_file(bundle, name, places):
                file.write(piece)


def swap(fresh: Path, place: Path, old: Path) -> None:
    """Put a folder in the place of another."""
    fresh.chmod(0o755)
    if place.exists():
        place.rename(old)
    fresh.rename(place)


def remove_outdated(before: Manifest, now: Manifest) -> None:
    """Remove what the release before had and this one has not, unless a person has changed it."""
    gone = before.below(CLONE).keys() - now.below(CLONE).keys() - {f"{CLONE}/{name}" for name in before.yours}
    for name in sorted(gone):
        path = ROOT / name.removeprefix(f"{CLONE}/")
        inside = path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(ROOT)
        if inside and hashlib.sha256(path.read_bytes()).hexdigest() == before.files[name].sha256:
            path.unlink()
            progress(f"removed {path.relative_to(ROOT)}: this release has it no longer")
