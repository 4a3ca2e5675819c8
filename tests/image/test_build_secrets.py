"""What a build is told in confidence stays out of the image: the package index's password, the CA bundle."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.settings import host_ca_bundle
from tests.engine_support import run
from tests.mirror_support import PASSWORD, Mirror, gateway, private_index

MARK = "planted-certificate-mark"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Mirror]:
    """A private index with a password, under a certificate of its own, as a container reaches it."""
    with private_index(gateway(), tmp_path) as mirror:
        yield mirror


@pytest.fixture
def bundle(index: Mirror, tmp_path: Path) -> Path:
    """The certificates that a site gives its machines: its own, which no image knows, beside the usual ones."""
    own = [path.read_text(encoding="utf-8") for path in (index.authority, host_ca_bundle()) if path]
    path = tmp_path / "bundle.pem"
    path.write_text(f"# {MARK}\n" + "\n".join(own), encoding="utf-8")
    return path


def find_in_layers(image: str, *words: str) -> int:
    """Return how many lines of everything an image is made of hold one of the words."""
    patterns = " ".join(f"-e {word}" for word in words)
    script = f"docker save {image} | grep --text --count --fixed-strings {patterns}"
    done = run("sh", "-c", script, check=False, timeout=600)
    return int(done.stdout)


def test_build_secrets_leave_no_trace(
    build: Any, usual: dict[str, str], base_of: Callable[[str], str], index: Mirror, bundle: Path
) -> None:
    # On the finished image only the private package is left to install.
    base_of(f"FROM {usual['airflow']}\nUSER airflow\n")
    build.write("packages.local.txt", "windrose-probe==1.0\n")
    build.clone.configure(PACKAGE_INDEX=index.address, BUILD_CA_BUNDLE=str(bundle))

    done = build.make()
    tag = done.stderr.split("airflow: ")[-1].split()[0]

    assert done.returncode == 0, done.stderr
    installed = run("docker", "run", "--rm", "--entrypoint=python", tag, "-c", "import windrose_probe; print('there')")
    assert installed.stdout == "there\n"
    known = run("docker", "history", "--no-trunc", tag).stdout + run("docker", "image", "inspect", tag).stdout
    assert (PASSWORD in known + done.stdout + done.stderr, MARK in known) == (False, False)
    assert index.exposed == []
    assert find_in_layers(tag, PASSWORD, MARK) == 0
    assert find_in_layers(tag, "windrose_probe") > 0


def test_conflict_deep_inside_names_both_packages(
    build: Any, usual: dict[str, str], base_of: Callable[[str], str], index: Mirror, bundle: Path
) -> None:
    base_of(f"FROM {usual['airflow']}\nUSER airflow\n")
    build.write("packages.local.txt", "windrose-probe==2.0\n")
    build.clone.configure(PACKAGE_INDEX=index.address, BUILD_CA_BUNDLE=str(bundle))

    done = build.make()

    told = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert re.search(r"windrose-probe\S* depends on paramiko<3 and you require paramiko==", told), done.stderr
    assert PASSWORD not in done.stderr


def test_context_of_the_build_holds_nothing_private(build: Any) -> None:
    (build.clone.folder / "secrets").mkdir()
    build.write("secrets/planted", MARK)
    recipe = "FROM windrose/debian:trixie-local\nCOPY . /context\nRUN find /context -type f > /found\n"
    argv = ["docker", "buildx", "build", "--load", "--tag=windrose-test/context:1", "--file=-", str(build.clone.folder)]
    subprocess.run(argv, input=recipe, text=True, capture_output=True, check=True, timeout=300)

    found = run("docker", "run", "--rm", "windrose-test/context:1", "cat", "/found").stdout.split()

    top = {path.split("/")[2] for path in found}
    assert top == {"constraints.txt", "images", "packages.txt", "scripts"}
    assert [path for path in found if "/scripts/" in path and "in_airflow" not in path] == []
