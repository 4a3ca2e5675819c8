"""Loading a bundle: whatever is wrong with it is said, and nothing is changed then."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import bundle_file, bundle_manifest
from scripts.bundle_manifest import Entry, ShippedImage
from tests.bundle_support import COMMIT, WHEELS, Target, make_bundle, make_target

AGAIN = "copy it again, and compare with `sha256sum` on both machines."
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
IMAGE = ShippedImage("windrose/none:1", "sha256:0", "0", 10**15)
ALL = ["bundle.json", *(name for name in WHEELS)]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A folder that a bundle was unpacked into."""
    return make_target(tmp_path_factory.mktemp("target"))


@pytest.fixture
def target(untouched: Target) -> Target:
    """That folder, with nothing loaded."""
    shutil.rmtree(untouched.folder / ".windrose")
    untouched.be_release(COMMIT)
    return untouched


@pytest.fixture
def bundle(target: Target, tmp_path: Path) -> Path:
    """A bundle for that folder."""
    return make_bundle(tmp_path, target)


def refusal(target: Target, bundle: Path | str, **env: str) -> str:
    """Return the last line of a load that must fail and leave nothing."""
    done = target.load(bundle, **env)
    assert (done.returncode, done.stdout, target.loaded()) == (1, "", []), done.stderr
    return done.stderr.splitlines()[-1]


def test_bundle_is_loaded_without_any_package(target: Target, bundle: Path) -> None:
    done = target.load(bundle, python=(sys.executable, "-I", "-S"), **NO_ENGINE)

    assert (done.returncode, target.loaded()) == (0, ALL), done.stderr
    assert done.stdout == "loaded bundle.tar; `make up` needs no network now\n"
    assert f"fingerprint {bundle_file.open_bundle(bundle).fingerprint}" in done.stderr
    found = {name: (target.folder / ".windrose" / name).read_bytes() for name in WHEELS}
    assert found == WHEELS


def test_load_again_after_a_kill_leaves_the_same(target: Target, bundle: Path) -> None:
    left = target.folder / ".windrose" / "loading-killed" / "wheels"
    left.mkdir(parents=True)
    (left / "half").write_text("half", encoding="utf-8")

    codes = [target.load(bundle, **NO_ENGINE).returncode for _ in range(2)]

    assert (codes, target.loaded()) == ([0, 0], ALL)


def test_make_load_needs_no_environment(target: Target, bundle: Path, run_make: Callable[..., object]) -> None:
    done = run_make(target.folder, "load", f"BUNDLE={bundle}", env=NO_ENGINE)

    assert (getattr(done, "returncode", 1), (target.folder / ".venv").exists()) == (0, False), done


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.95, 0.999])
def test_cut_short_is_refused(target: Target, bundle: Path, kept: float) -> None:
    data = bundle.read_bytes().rstrip(b"\0")
    bundle.write_bytes(data[: int(len(data) * kept)])

    said = refusal(target, bundle)

    assert said.startswith("bundle.tar: is cut short; ") or "or cut short at its beginning; " in said


def test_missing_end_is_refused(target: Target, bundle: Path) -> None:
    data = bundle.read_bytes().rstrip(b"\0")
    bundle.write_bytes(data + b"\0" * (-len(data) % 512))

    assert refusal(target, bundle) == f"bundle.tar: is cut short; {AGAIN}"


def test_one_changed_byte_is_refused(target: Target, bundle: Path) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b"wheel of two", b"wheel oF two", 1))

    said = refusal(target, bundle)

    name = list(WHEELS)[1]
    assert said == f"bundle.tar: was changed: {name} is not what its manifest says; {AGAIN}"


def test_bytes_after_the_end_are_refused(target: Target, bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes() + b"more")

    assert refusal(target, bundle) == f"bundle.tar: was changed: something follows its end; {AGAIN}"


def add(bundle: Path, name: str, kind: bytes) -> None:
    """Add a member to a bundle."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(bundle, "a") as archive:
        archive.addfile(member, io.BytesIO(b""))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("wheels/three.whl", tarfile.REGTYPE, id="unlisted"),
        pytest.param("../outside", tarfile.REGTYPE, id="outside"),
        pytest.param("/etc/outside", tarfile.REGTYPE, id="absolute"),
        pytest.param("wheels/link.whl", tarfile.SYMTYPE, id="link"),
        pytest.param(next(iter(WHEELS)), tarfile.LNKTYPE, id="hard link over a file"),
        pytest.param(next(iter(WHEELS)), tarfile.REGTYPE, id="twice"),
        pytest.param("manifest.json", tarfile.REGTYPE, id="second manifest"),
    ],
)
def test_file_that_the_manifest_does_not_hold_is_refused(target: Target, bundle: Path, name: str, kind: bytes) -> None:
    add(bundle, name, kind)

    said = refusal(target, bundle)

    fix = "do not use it; make the bundle again."
    assert said == f"bundle.tar: was changed: it holds {name!r}, its manifest does not; {fix}"


@pytest.mark.parametrize(
    "name", ["../x", "/x", "wheels/../../x", "windrose/../x", "wheels/a/b.whl", "windrose//x", "x", "windrose/", ""]
)
def test_manifest_with_a_way_out_is_refused(name: str) -> None:
    text = json.loads(b'{"format": 1, "images": [], "pythons": [], "yours": []}')
    fields = ("release", "commit", "form", "system", "machine", "airflow", "python", "glibc")
    text |= dict.fromkeys(fields, "compose") | {"files": {name: {"size": 1, "sha256": "0" * 64}}}

    with pytest.raises(ValueError, match="which no bundle holds"):
        bundle_manifest.from_json(json.dumps(text).encode())


def test_what_is_no_bundle_is_refused(target: Target, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w") as archive:
        archive.add(target.folder / "Makefile", "Makefile")
    text = tmp_path / "text.tar"
    text.write_text("no archive\n" * 100, encoding="utf-8")

    said = [refusal(target, path) for path in (other, text, "../missing.tar")]

    fix = "take the file that `make bundle` wrote, as it is."
    assert said[:2] == [
        f"{p.name}: is not a bundle of Windrose, or cut short at its beginning; {fix}" for p in (other, text)
    ]
    assert said[2].startswith("../missing.tar: is not there; ")


def test_no_bundle_given_is_wrong_usage(target: Target) -> None:
    done = target.load("")

    assert (done.returncode, done.stderr.count("BUNDLE=")) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"machine": "s390x"}, "bundle: is for linux on s390x, this machine is ", id="machine"),
        pytest.param({"python": "3.99"}, "bundle: holds Airflow for Python 3.99, which is not here; ", id="python"),
        pytest.param({"pythons": ("2.7",)}, "the bundle's wheels are for 2.7; install python2.7.", id="pythons"),
        pytest.param({"glibc": "9.9"}, "bundle: the wheels need glibc 9.9 or newer, here is ", id="glibc"),
        pytest.param({"form": "compose"}, "Docker: no Docker Engine answers; start or install it", id="no engine"),
    ],
)
def test_wrong_machine_is_refused(target: Target, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    bundle = make_bundle(tmp_path, target, **changes)

    assert said in refusal(target, bundle, **NO_ENGINE)


def test_other_release_is_refused_with_the_way_to_unpack_it(target: Target, bundle: Path) -> None:
    target.be_release("ba9876543210")

    said = refusal(target, bundle)

    fix = f"unpack the bundle's own: tar -xf {bundle} -C {target.folder.parent} windrose."
    assert said == f"bundle: is of release 1.0, this folder is ba9876543210; {fix}"


def test_packages_that_are_not_in_the_bundle_are_refused(target: Target, bundle: Path) -> None:
    own = target.folder / "packages.local.txt"
    own.write_text("cowsay==6.1\n", encoding="utf-8")
    try:
        said = refusal(target, bundle)
    finally:
        own.unlink()

    assert said.startswith("packages.local.txt: is not what the bundle was made with; unpack the bundle's own: ")


def test_too_small_a_disk_is_refused_before_the_sums_are_checked(target: Target, bundle: Path, tmp_path: Path) -> None:
    read = bundle_file.open_bundle(bundle)
    huge = {**read.manifest.files, "wheels/huge.whl": Entry(10**15, "0" * 64)}
    (tmp_path / "huge").mkdir()
    bundle_file.write(replace(read.manifest, files=huge), {}, tmp_path / "temporary", tmp_path / "huge" / "bundle.tar")

    said = refusal(target, tmp_path / "huge" / "bundle.tar")

    assert " GB are free, the bundle needs 1000000.2 GB; free some space and run it again." in said


def test_folder_of_no_known_release_is_refused(target: Target, bundle: Path) -> None:
    (target.folder / ".windrose" / "release.json").unlink()

    assert refusal(target, bundle).startswith("this folder: is of no known release; ")


def test_update_removes_what_the_release_has_no_longer(target: Target, tmp_path: Path) -> None:
    gone, changed = "scripts/commands/gone.py", "scripts/commands/mine.py"
    files = {f"windrose/{name}": b"# old\n" for name in (gone, changed)}
    old = make_bundle(tmp_path, target, files)
    for name in (gone, changed):
        (target.folder / name).write_text("# old\n", encoding="utf-8")
    assert target.load(old).returncode == 0
    (target.folder / changed).write_text("# mine\n", encoding="utf-8")

    done = target.load(make_bundle(tmp_path, target))

    left = [name for name in (gone, changed) if (target.folder / name).exists()]
    (target.folder / changed).unlink(missing_ok=True)
    assert (done.returncode, left) == (0, [changed]), done.stderr
    assert f"removed {gone}: this release has it no longer" in done.stderr.splitlines()
