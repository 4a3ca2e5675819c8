"""What goes into a bundle, and what never does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bundle_images, bundle_wheels
from scripts.errors import UsageError

PRIVATE = (".env", "secrets.yaml", "secrets/fernet_key", "logs/a.log", "data/a", "dags/mine/a_dag.py", "notes.txt")
PROGRAM = """
import json
from scripts import bundle_make, bundle_release
release = bundle_release.read_release()
sources = bundle_make.clone_sources(release)
print(json.dumps([release.name, release.commit, {name: [s.mode, s.content.decode()] for name, s in sources.items()}]))
"""


@pytest.fixture
def checkout(clone: Path) -> Path:
    """A git clone with a tag, and with files of a person's own."""
    git(clone, "init", "--quiet")
    git(clone, "add", "--all", ":!.venv")
    git(clone, "commit", "--quiet", "--message=all")
    git(clone, "tag", "v1.0")
    for name in PRIVATE:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("planted\n", encoding="utf-8")
    return clone


def git(folder: Path, *words: str) -> str:
    person = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    return subprocess.run(["git", *person, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def read_sources(folder: Path) -> tuple[str, str, dict[str, tuple[int, str]]]:
    """Return name and commit of the release, and what would be shipped of the clone."""
    argv = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name, commit, sources = json.loads(done.stdout)
    return name, commit, sources


def test_clone_in_the_bundle_is_what_git_tracks(checkout: Path) -> None:
    name, commit, sources = read_sources(checkout)

    tracked = {f"windrose/{path}" for path in git(checkout, "ls-files").splitlines()}
    assert set(sources) == tracked | {"windrose/.windrose/release.json"}
    assert not {f"windrose/{path}" for path in PRIVATE} & set(sources)
    assert (name, commit) == ("v1.0", git(checkout, "rev-parse", "--short=12", "HEAD").strip())
    assert (sources["windrose/.ci/run"][0], sources["windrose/Makefile"][0]) == (0o755, 0o644)
    assert json.loads(sources["windrose/.windrose/release.json"][1])["commit"] == commit


def test_packages_of_the_person_are_shipped(checkout: Path) -> None:
    (checkout / "packages.local.txt").write_text("cowsay==6.1\n", encoding="utf-8")

    assert "windrose/packages.local.txt" in read_sources(checkout)[2]


def test_changed_clone_is_not_called_by_its_tag(checkout: Path) -> None:
    (checkout / "Makefile").write_text("changed\n", encoding="utf-8")

    name, commit, _ = read_sources(checkout)

    assert (name, commit.endswith("-changed")) == (commit, True)


def test_clone_from_a_bundle_ships_the_same_again(checkout: Path) -> None:
    name, commit, sources = read_sources(checkout)
    (checkout / ".git").rename(checkout.parent / "git")
    (checkout / ".windrose").mkdir(exist_ok=True)
    record = sources["windrose/.windrose/release.json"][1]
    (checkout / ".windrose" / "release.json").write_text(record, encoding="utf-8")

    again = read_sources(checkout)

    assert (again[0], again[1], set(again[2])) == (name, commit, set(sources))


@pytest.mark.parametrize(("given", "taken"), [("3.13", "3.13"), ("3.12.4", "3.12"), ("3.11", "3.11")])
def test_python_of_the_target_is_read(given: str, taken: str) -> None:
    assert bundle_wheels.choose_python(given) == taken


@pytest.mark.parametrize("given", ["3.10", "4.0", "three", "3", "3.13; rm"])
def test_python_that_airflow_does_not_run_on_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"take one of 3\.11, 3\.12, 3\.13, 3\.14"):
        bundle_wheels.choose_python(given)


@pytest.mark.parametrize(
    ("reference", "plain"),
    [
        ("apache/airflow:slim-3.3.2-python3.13", "apache/airflow:slim-3.3.2-python3.13"),
        ("mirror.example:5000/docker/apache/airflow:slim-3.3.2-python3.13", "apache/airflow:slim-3.3.2-python3.13"),
        ("windrose/airflow-base:3.3.2-local", "windrose/airflow-base:3.3.2-local"),
    ],
)
def test_images_are_shipped_by_the_name_they_have_without_a_mirror(reference: str, plain: str) -> None:
    assert bundle_images.plain_name("airflow", reference) == plain
