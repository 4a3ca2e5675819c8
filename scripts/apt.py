"""What this machine's own apt configuration says: which distribution it is, and a package of it."""

from __future__ import annotations

from pathlib import Path

from scripts import process
from scripts.settings import environment

OS_RELEASE = Path("/etc/os-release")


def os_release() -> dict[str, str]:
    """Return what /etc/os-release says, {} where there is none."""
    if not OS_RELEASE.exists():
        return {}
    pairs = (line.split("=", 1) for line in OS_RELEASE.read_text().splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def distribution() -> str:
    """Return `debian`, `ubuntu`, or whatever else this machine calls itself."""
    return os_release().get("ID", "")


def download(package: str, folder: Path) -> None:
    """Fetch a package without installing it, with fresh lists where there are none yet."""
    quiet = environment({"DEBIAN_FRONTEND": "noninteractive"})
    # As root, apt fetches as the user _apt, who may not write into a clone.
    argv = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
    if process.run(argv, folder=folder, environment=quiet, check=False).code != 0:
        process.run(["apt-get", "update"], environment=quiet)
        process.run(argv, folder=folder, environment=quiet)
