"""uv uses the package index that pip is configured for."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import package_index

ALWAYS = {"UV_SYSTEM_CERTS": "true", "UV_PYTHON_DOWNLOADS": "never"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with a folder of wheels and a CA bundle."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / ".config/pip").mkdir(parents=True)
    files = package_index.pip_files
    monkeypatch.setattr(package_index, "pip_files", lambda environment: files(environment)[1:])
    return tmp_path


def test_without_configuration_nothing_is_added(home: Path) -> None:
    environment = {"HOME": str(home)}

    assert package_index.uv_environment(environment) == {**ALWAYS, **environment}


def test_pip_configuration_file_is_translated(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text(
        "[global]\n"
        "index-url = https://mirror.example/simple\n"
        f"extra-index-url =\n    https://more.example/simple\n    file://{home}/missing\n"
        f"find_links = {home}/wheels {home}/missing\n"
        f"cert = {home}/ca.pem\n"
        "[install]\n"
        "trusted-host = mirror.example\n"
    )

    found = package_index.uv_environment({"HOME": str(home)})

    assert found == {
        **ALWAYS,
        "HOME": str(home),
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://more.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{home}/wheels",
        "UV_INSECURE_HOST": "mirror.example",
        "SSL_CERT_FILE": f"{home}/ca.pem",
    }


def test_variables_win_over_files_and_uv_over_pip(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://file.example/simple\n")
    environment = {"HOME": str(home), "PIP_INDEX_URL": "https://variable.example/simple"}

    assert package_index.uv_environment(environment)["UV_DEFAULT_INDEX"] == "https://variable.example/simple"
    chosen = {**environment, "UV_DEFAULT_INDEX": "https://uv.example/simple"}
    assert package_index.uv_environment(chosen)["UV_DEFAULT_INDEX"] == "https://uv.example/simple"


def test_broken_configuration_is_passed_over(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("index-url = before any section\n")

    assert package_index.read_pip_settings({"HOME": str(home)}) == {}
