"""What does a bundle hold, for which machine? The first file in it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.settings import STATE

FORMAT = 1
NAME = "manifest.json"
CLONE = "windrose"  # the folder of the clone
WHEELS = "wheels"  # the folder of the wheels
IMAGES = "images.tar.gz"
LARGEST = 16 * 1000**2  # of a manifest
FORMS = ("compose", "embedded")
LOADED = STATE / "bundle.json"  # the manifest of what was loaded last
LOADED_WHEELS = STATE / "wheels"  # scripts/make_venv.py knows this folder, too
_PATH = re.compile(rf"{re.escape(IMAGES)}|{WHEELS}/[\w.+!-]+\.whl|{CLONE}/[^\0]+")
_SUM = re.compile(r"[0-9a-f]{64}")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShippedImage:
    """One image of a bundle: its id is the engine's, its identity holds on any engine."""

    reference: str
    id: str
    identity: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is, and every file of it."""

    release: str
    commit: str
    form: str  # compose or embedded
    system: str
    machine: str
    airflow: str  # its version
    python: str  # that Airflow's wheels are for; '' where they are not in it
    pythons: tuple[str, ...]  # that the wheels of .venv are for
    glibc: str  # the oldest that the wheels run on; '' where there is none
    images: tuple[ShippedImage, ...]
    yours: tuple[str, ...]  # files of the person who made it, not of the release
    files: Mapping[str, Entry]

    @property
    def file_name(self) -> str:
        """What the bundle is called."""
        return f"windrose-{self.release.replace('/', '-')}-{self.form}-{self.machine}.tar"

    @property
    def loaded_size(self) -> int:
        """How much room the images take at most, without what they share."""
        return sum(image.size for image in self.images)

    def below(self, folder: str) -> dict[str, Entry]:
        """Return the files of one folder."""
        return {name: entry for name, entry in self.files.items() if name.startswith(f"{folder}/")}

    def to_json(self) -> bytes:
        """Return the manifest as it is written."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode() + b"\n"


def from_json(text: bytes) -> Manifest:
    """Read a manifest; ValueError says what is wrong with it."""
    try:
        read = json.loads(text)
        if read.pop("format") != FORMAT:
            raise ValueError("another version of Windrose made it in another format")
        files = {str(name): Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in read["files"].items()}
        images = tuple(ShippedImage(**image) for image in read["images"])
        lists = {name: tuple(map(str, read[name])) for name in ("pythons", "yours")}
        manifest = Manifest(**{**read, **lists, "files": files, "images": images})
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("its manifest cannot be read") from error
    for name, entry in files.items():
        if not is_safe(name) or entry.size < 0 or not _SUM.fullmatch(entry.sha256):
            raise ValueError(f"its manifest holds {name[:80]!r}, which no bundle holds")
    if manifest.form not in FORMS:
        raise ValueError("its manifest names no runtime")
    return manifest


def is_safe(name: str) -> bool:
    """Say whether a bundle may hold a file of this name: nothing leads out of its folder."""
    return bool(_PATH.fullmatch(name)) and not {"", ".", ".."}.intersection(name.split("/"))


def loaded() -> Manifest | None:
    """Return the manifest of what was loaded last, None where nothing was."""
    return _read(LOADED)


def _read(path: Path) -> Manifest | None:
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def machine_name(name: str) -> str:
    """Return the one name for a kind of machine that engines and kernels call differently."""
    return _MACHINES.get(name.lower(), name.lower())
