"""Install the Debian packages of packages.local.apt, from the mirror that `.env` names, else from the base image's."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from locked import HERE

LOCAL = HERE / "packages.local.apt"
SOURCES = Path("/tmp/windrose.list")  # noqa: S108 - in a build step, which has no other user
LISTS = Path("/var/lib/apt/lists")


def wanted() -> list[str]:
    """Return the names that the file lists, comments aside."""
    lines = LOCAL.read_text(encoding="utf-8").splitlines() if LOCAL.exists() else []
    return [word for line in lines for word in line.split("#", 1)[0].split()]


def options() -> list[str]:
    """Return apt's options for the mirror and for the certificates of the build."""
    found = []
    mirror = os.environ.get("DEBIAN_MIRROR", "")
    if mirror:
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
        SOURCES.write_text(f"deb {mirror} {codename} main\n", encoding="utf-8")
        found += [f"--option=Dir::Etc::SourceList={SOURCES}", "--option=Dir::Etc::SourceParts=/dev/null"]
    certificates = Path("/run/secrets/ca_bundle")
    if certificates.exists() and certificates.stat().st_size:
        found.append(f"--option=Acquire::https::CAInfo={certificates}")
    return found


def main() -> None:
    """Install, and leave no lists behind."""
    names = wanted()
    if not names:
        return
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        if subprocess.run(
            ["apt-get", *options(), "--option=APT::Update::Error-Mode=any", *words], check=False
        ).returncode:
            sys.exit(
                "windrose: packages.local.apt cannot be installed (apt-get says why in the lines above); "
                "mend a name, or set DEBIAN_MIRROR in .env to a mirror that you reach."
            )
    shutil.rmtree(LISTS)
    LISTS.mkdir()
    SOURCES.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
