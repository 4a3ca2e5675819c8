from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from scripts import generated_files, limits, settings


def chosen(folder: Path, text: str = "") -> settings.Settings:
    (folder / ".env").write_text(text)
    return settings.load(folder / ".env")


def config(folder: Path, text: str) -> configparser.ConfigParser:
    found = chosen(folder, text)
    parser = configparser.ConfigParser()
    parser.read_string(generated_files.airflow_config(found, limits.compute(found, memory_mb=8000, cores=2)))
    return parser


@pytest.mark.parametrize(
    ("word", "executor"), [("local", "windrose.local_executor.LocalExecutor"), ("celery", "CeleryExecutor")]
)
def test_executor_follows_the_setting(tmp_path: Path, word: str, executor: str) -> None:
    assert config(tmp_path, f"EXECUTOR={word}\n")["core"]["executor"] == executor


def test_airflow_options_of_the_user_arrive_as_written(tmp_path: Path) -> None:
    found = config(tmp_path, "AIRFLOW__LOGGING__LOG_FORMAT=%(asctime)s $HOME\n")

    assert found["logging"]["log_format"] == "%(asctime)s $HOME"


def test_stacks_own_names_are_never_reached_through_the_proxy(tmp_path: Path) -> None:
    text = generated_files.proxy_environment(chosen(tmp_path, "HTTPS_PROXY=http://proxy:3128\nNO_PROXY=.example.org\n"))

    pairs = dict(line.split("=", 1) for line in text.splitlines())
    assert (
        pairs["no_proxy"] == pairs["NO_PROXY"] == ".example.org,localhost,127.0.0.1,postgres,valkey,airflow-apiserver"
    )
    assert pairs["https_proxy"] == "http://proxy:3128" and "HTTP_PROXY" not in pairs


def test_no_proxy_means_no_line(tmp_path: Path) -> None:
    assert generated_files.proxy_environment(chosen(tmp_path, "NO_PROXY=x\n")) == ""


@pytest.mark.parametrize(
    ("library", "hidden"),
    [
        ("all", ["kubernetes"]),
        ("all,kubernetes", []),
        ("none", list(settings.SHIPPED_FOLDERS)),
        ("tutorial,hpc", ["templates", "platforms", "maintenance", "kubernetes"]),
        ("kubernetes", ["tutorial", "templates", "platforms", "hpc", "maintenance"]),
    ],
)
def test_library_hides_the_shipped_folders_it_does_not_name(tmp_path: Path, library: str, hidden: list[str]) -> None:
    lines = generated_files.ignored_dags(chosen(tmp_path, f"LIBRARY={library}\n")).splitlines()

    assert [line.strip("/") for line in lines if line.strip("/") in settings.SHIPPED_FOLDERS] == hidden
    assert "/functions/" in lines
