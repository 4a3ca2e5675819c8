"""Once a bundle was loaded, `.venv-airflow` is made from its wheels, for its Python, and no index is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import airflow_venv, bundle_manifest
from tests.bundle_support import Target, make_bundle

OWN = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a clone remembers of the bundle it has loaded."""
    monkeypatch.setattr(bundle_manifest, "LOADED", tmp_path / "bundle.json")
    monkeypatch.setattr(bundle_manifest, "LOADED_WHEELS", tmp_path / "wheels")
    (tmp_path / "wheels").mkdir()
    return tmp_path


def remember(state: Path, **changes: object) -> None:
    """Write the manifest of a bundle as `make load` does."""
    from scripts.bundle_file import open_bundle

    bundle = make_bundle(state, Target(state), **changes)
    (state / "bundle.json").write_bytes(open_bundle(bundle).manifest.to_json())


def test_loaded_wheels_take_the_place_of_the_index(state: Path) -> None:
    remember(state, python=OWN)

    assert airflow_venv.loaded_wheels() == ["--offline", "--no-index", f"--find-links={state / 'wheels'}"]
    assert airflow_venv.choose_python() == sys.executable


def test_python_of_the_wheels_is_chosen(state: Path) -> None:
    remember(state, python="3.98")

    assert airflow_venv.choose_python() == "3.98"


@pytest.mark.parametrize("broken", ["nothing", "images only", "unreadable", "wheels deleted"])
def test_without_wheels_of_airflow_the_index_is_asked(state: Path, broken: str) -> None:
    if broken != "nothing":
        remember(state, python="" if broken == "images only" else OWN)
    if broken == "unreadable":
        (state / "bundle.json").write_text("{", encoding="utf-8")
    if broken == "wheels deleted":
        (state / "wheels").rmdir()

    assert (airflow_venv.loaded_wheels(), airflow_venv.choose_python()) == ([], sys.executable)
