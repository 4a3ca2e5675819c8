"""Small bundles for tests: of the right shape, with next to nothing inside."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from scripts import bundle_file, images, tree
from scripts.bundle_file import Source
from scripts.bundle_manifest import Manifest, machine_name
from scripts.bundle_wheels import PYTHONS
from scripts.settings import ARGUMENTS, environment

RELEASE = "1.0"
COMMIT = "0123456789ab"
WHEELS = {f"wheels/{name}-1.0-py3-none-any.whl": f"wheel of {name}".encode() * 9 for name in ("one", "two")}
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Target:
    """A folder as a bundle leaves it on the machine it goes to: without git, without `.venv`."""

    folder: Path

    def load(self, bundle: Path | str, *, python: tuple[str, ...] = (sys.executable,), **env: str) -> Done:
        """Run what `make load` runs."""
        kept = {key: value for key, value in environment().items() if key not in ARGUMENTS}
        argv = [*python, "scripts/make_venv.py", "load"]
        known = {**kept, "BUNDLE": str(bundle), **env}
        return subprocess.run(argv, cwd=self.folder, env=known, capture_output=True, text=True, check=False)

    def loaded(self) -> list[str]:
        """Return what loading has left in the folder's memory."""
        state = self.folder / ".windrose"
        found = [path.relative_to(state) for path in state.rglob("*") if path.is_file()]
        return sorted(str(path) for path in found if str(path) not in ("lock", "release.json"))

    def be_release(self, commit: str) -> None:
        """Say of which release the folder is."""
        (self.folder / ".windrose").mkdir(exist_ok=True)
        record = {"name": commit, "commit": commit, "files": ["Makefile"]}
        (self.folder / ".windrose" / "release.json").write_text(json.dumps(record), encoding="utf-8")


def make_target(folder: Path) -> Target:
    """Copy the project into a folder called `windrose`."""
    target = Target(tree.copy_to(folder / "windrose"))
    (target.folder / ".venv").unlink()
    target.be_release(COMMIT)
    return target


def make_bundle(folder: Path, target: Target, files: dict[str, bytes] | None = None, **changes: object) -> Path:
    """Write a bundle for a folder; `changes` are of its manifest."""
    names = (images.PACKAGES.dockerfile, *images.PACKAGES.inputs, "scripts/requirements.txt")
    inputs = [path for name in names for path in images.files_below(target.folder / name)]
    sources = {f"windrose/{path.relative_to(target.folder)}": Source(path) for path in inputs}
    sources |= {name: Source(content=content) for name, content in (WHEELS | (files or {})).items()}
    manifest = Manifest(
        release=RELEASE,
        commit=COMMIT,
        form="embedded",
        system=platform.system().lower(),
        machine=machine_name(platform.machine()),
        airflow="3.3.2",
        python="{}.{}".format(*sys.version_info[:2]),
        pythons=PYTHONS,
        glibc="",
        images=(),
        yours=(),
        files={name: source.entry() for name, source in sources.items()},
    )
    manifest = replace(manifest, **changes)  # type: ignore[arg-type]
    path = folder / "bundle.tar"
    bundle_file.write(manifest, sources, folder / "temporary", path)
    return path
