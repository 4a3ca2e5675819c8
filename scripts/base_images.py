"""A Debian to build on, made without any registry."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from scripts import apt, process
from scripts.apt_sources import read_sources
from scripts.console import progress
from scripts.errors import KitError
from scripts.settings import STATE, Settings, environment

RELEASE = "trixie"


def make_debian(tag: str, settings: Settings) -> None:
    """Make the Debian base image with debootstrap and hand it to the engine."""
    if os.geteuid() != 0 or apt.distribution() not in ("debian", "ubuntu"):
        raise KitError(
            "images",
            "no registry answers, and building them here needs root on Debian or Ubuntu",
            "run make as root there, or set IMAGE_REGISTRY in .env to a mirror that you reach",
        )
    mirror = settings["DEBIAN_MIRROR"] or machine_mirror()
    if not mirror:
        raise KitError("images", "no Debian mirror is known on this machine", "set DEBIAN_MIRROR=http://... in .env")
    program = find_debootstrap()
    progress(f"building {tag} from {RELEASE} with debootstrap (about half a minute)")
    STATE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="debian-", dir=STATE) as folder:
        # The folder becomes the image's root: everybody in the container must be able to enter it.
        root = Path(folder) / "root"
        root.mkdir(mode=0o755)
        bootstrap(program, root, mirror)
        archive = Path(folder) / "root.tar"
        process.run(["tar", f"--directory={root}", "--create", f"--file={archive}", "."])
        process.run(["docker", "import", str(archive), tag])


def machine_mirror() -> str:
    """Return the mirror that this Debian installs from itself, or ''."""
    if apt.distribution() != "debian":
        return ""
    return next((uri for source in read_sources() for uri in source.uris if uri.startswith("http")), "")


def bootstrap(program: Path, root: Path, mirror: str) -> None:
    """Install a minimal Debian into a folder."""
    scripts = program.parent.parent / "share" / "debootstrap"
    lines: list[str] = []
    code = process.stream(
        [str(program), "--variant=minbase", "--include=ca-certificates", RELEASE, str(root), mirror],
        on_line=lines.append,
        environment=environment({"DEBOOTSTRAP_DIR": str(scripts), "DEBIAN_FRONTEND": "noninteractive"}),
    )
    if code != 0:
        last = next((line for line in reversed(lines) if line.startswith("E:")), lines[-1] if lines else "no output")
        raise KitError("debootstrap", last.removeprefix("E:").strip(), "check DEBIAN_MIRROR in .env and the network")


def find_debootstrap() -> Path:
    """Return debootstrap, unpacked into the clone where the machine has none: nothing is installed for this."""
    installed = shutil.which("debootstrap")
    if installed:
        return Path(installed)
    folder = STATE / "debootstrap"
    program = folder / "usr" / "sbin" / "debootstrap"
    if not program.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        apt.download("debootstrap", folder)
        for package in folder.glob("debootstrap_*.deb"):
            process.run(["dpkg-deb", "--extract", str(package), str(folder)])
    return program
