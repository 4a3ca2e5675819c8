"""Move everything the base image carries to the lock, and add our packages and the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from locked import HERE, LOCK, installed_versions, locked_versions, normalized

# Airflow itself: another version than the lock's is another product, so the build stops.
FIXED = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
CACHE = "/tmp/uv-cache"  # noqa: S108 - a cache mount of the Dockerfile
LOCAL = HERE / "packages.local.txt"


def stop(sentence: str) -> None:
    """End the build with one sentence."""
    sys.exit(f"windrose: {sentence}")


def check_airflow(installed: dict[str, str], locked: dict[str, str]) -> None:
    """Refuse a base image whose Airflow is not the lock's."""
    for name in FIXED:
        if installed.get(name, locked[name]) != locked[name]:
            stop(
                f"the base image carries {name} {installed[name]} and constraints.txt holds {locked[name]}; "
                "take the base image of that release."
            )


def check_local_packages(locked: dict[str, str]) -> None:
    """Refuse a line of packages.local.txt that the lock contradicts, naming both."""
    from packaging.requirements import InvalidRequirement, Requirement

    if not LOCAL.exists():
        return
    for number, line in enumerate(LOCAL.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.split(" #")[0].strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            stop(f"packages.local.txt line {number}: {text!r} is not a requirement; write name or name==version.")
        version = locked.get(normalized(requirement.name))
        if version and not requirement.specifier.contains(version, prereleases=True):
            stop(
                f"packages.local.txt line {number}: {text} contradicts constraints.txt, which holds "
                f"{requirement.name}=={version}; change or delete the line."
            )


def uv_environment() -> dict[str, str]:
    """Return the environment for uv: the CA bundle and the index come as build secrets, for this step only."""
    environment = {**os.environ, "UV_CACHE_DIR": CACHE, "UV_LINK_MODE": "copy"}
    bundle, index = Path("/run/secrets/ca_bundle"), Path("/run/secrets/uv_config")
    if bundle.exists() and bundle.stat().st_size:
        environment["SSL_CERT_FILE"] = str(bundle)
    if index.exists() and index.stat().st_size:
        environment["UV_CONFIG_FILE"] = str(index)
    return environment


def uv(*arguments: str) -> int:
    """Run uv on the environment we run in."""
    return subprocess.run(
        ["uv", "pip", arguments[0], f"--python={sys.executable}", *arguments[1:]], env=uv_environment(), check=False
    ).returncode


def main() -> None:
    """Install."""
    installed, locked = installed_versions(), locked_versions()
    check_airflow(installed, locked)
    check_local_packages(locked)
    foreign = sorted(set(installed) - set(locked))
    if foreign and uv("uninstall", "--quiet", *foreign) != 0:
        stop(f"could not remove {', '.join(foreign)}, which the lock does not hold; see the lines above.")
    wanted = [f"--requirement={file}" for file in (HERE / "packages.txt", LOCAL) if file.exists()]
    held = sorted(set(installed) & set(locked))
    if uv("install", "--quiet", "--compile-bytecode", *wanted, f"--constraint={LOCK}", *held) != 0:
        stop(
            "packages.txt and packages.local.txt could not be installed at the versions of constraints.txt; "
            "the lines above say why."
        )


if __name__ == "__main__":
    main()
