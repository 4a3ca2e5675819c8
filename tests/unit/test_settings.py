from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import settings
from scripts.errors import Problems


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(setting.key for setting in settings.SETTINGS), "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)


def load(folder: Path, text: str) -> settings.Settings:
    env_file = folder / ".env"
    env_file.write_text(text, encoding="utf-8")
    return settings.load(env_file)


def told(folder: Path, text: str) -> str:
    with pytest.raises(Problems) as caught:
        load(folder, text)
    return str(caught.value)


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    found = settings.load(tmp_path / ".env")

    assert dict(found.values) == {setting.key: setting.default for setting in settings.SETTINGS}


def test_example_file_copied_as_it_is_changes_nothing(tmp_path: Path) -> None:
    uncommented = "\n".join(re.findall(r"^# ([A-Z]+[A-Z_]*=.*)$", settings.env_example(), flags=re.MULTILINE))

    found = load(tmp_path, uncommented)

    assert dict(found.values) == {setting.key: setting.default for setting in settings.SETTINGS}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param("ADMIN_USER=ada", "ada", id="plain"),
        pytest.param("export ADMIN_USER = ada  # who", "ada", id="export, blanks and a comment"),
        pytest.param("ADMIN_USER='ada'", "ada", id="single quotes"),
        pytest.param('ADMIN_USER="ada" # who', "ada", id="double quotes and a comment"),
        pytest.param("ADMIN_USER=", "admin", id="empty is the default"),
    ],
)
def test_line_is_read_as_compose_reads_it(tmp_path: Path, line: str, value: str) -> None:
    assert load(tmp_path, line + "\n")["ADMIN_USER"] == value


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("AIRFLOW_PROT=1", ".env line 1: AIRFLOW_PROT is not a setting; did you mean AIRFLOW_PORT?."),
        ("AIRFLOW_PORT=http", ".env line 1: AIRFLOW_PORT is 'http'; write a port from 1 to 65535, for example 8080."),
        ("EXECUTOR=celary", ".env line 1: EXECUTOR is 'celary'; write one of local, celery (did you mean celery?)."),
        ("LIBRARY=tutorials", None),
        ("LIBRARY=all,none", None),
        ("WORKERS=0", None),
        ("SUBNET=10.0.0.0/30", None),
        ("SUBNET=fd00::/64", None),
        ("BUILD_CA_BUNDLE=/no/such/file", None),
        ("DEBIAN_MIRROR=http://me:pw@mirror.example/debian", None),
        ("just words", ".env line 1: is not KEY=value; write it so or delete it."),
        ("AIRFLOW__CORE__PARALELISM=4", ".env line 1: AIRFLOW__CORE__PARALELISM is not a setting; "
         "did you mean AIRFLOW__CORE__PARALLELISM?."),
    ],
)  # fmt: skip
def test_wrong_line_is_told_with_its_number_and_the_mend(tmp_path: Path, line: str, sentence: str | None) -> None:
    message = told(tmp_path, line)

    assert message.startswith(".env line 1: ")
    assert message == sentence or sentence is None


def test_all_wrong_lines_are_told_at_once(tmp_path: Path) -> None:
    message = told(tmp_path, "EXECUTOR=x\nWORKERS=y\nNOPE=z\n")

    assert [line.split(":")[0] for line in message.splitlines()] == [".env line 1", ".env line 2", ".env line 3"]


def test_password_in_a_wrong_address_is_not_shown(tmp_path: Path) -> None:
    assert "s3cret" not in told(tmp_path, "PACKAGE_INDEX=user:s3cret@mirror\nHTTP_PROXY=ftp://user:s3cret@proxy\n")


def test_login_without_its_other_half_is_told(tmp_path: Path) -> None:
    message = told(tmp_path, "IMAGE_REGISTRY_USER=me\n")

    assert message == (
        ".env: IMAGE_REGISTRY is not set, and a login needs it; set IMAGE_REGISTRY too.\n"
        ".env: IMAGE_REGISTRY_PASSWORD is not set, and a login needs it; set IMAGE_REGISTRY_PASSWORD too."
    )


def test_airflow_options_are_passed_on_by_section_and_key(tmp_path: Path) -> None:
    found = load(tmp_path, "AIRFLOW__CORE__DEFAULT_TIMEZONE=Europe/Helsinki\n")

    assert dict(found.airflow_options) == {"core.default_timezone": "Europe/Helsinki"}


@pytest.mark.parametrize("option", sorted(settings.OWNED_OPTIONS))
def test_option_that_the_stack_fills_in_is_refused(tmp_path: Path, option: str) -> None:
    key = "AIRFLOW__" + "__".join(option.split(".")).upper()

    assert "Windrose sets this option itself" in told(tmp_path, f"{key}=x\n")


def test_names_of_docker_and_of_the_user_pass(tmp_path: Path) -> None:
    found = load(tmp_path, "COMPOSE_PROJECT_NAME=lab\nDOCKER_HOST=unix:///x\nX_MINE=1\n")

    assert (found.project, dict(found.passed_on)["X_MINE"]) == ("lab", "1")


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_PORT", "9000")

    assert load(tmp_path, "AIRFLOW_PORT=8081\n").port == 9000


def test_subnet_is_cut_into_one_piece_a_network(tmp_path: Path) -> None:
    found = load(tmp_path, "SUBNET=10.213.0.0/24\n")

    assert found.subnets == {
        "DATABASE": "10.213.0.0/26",
        "BROKER": "10.213.0.64/26",
        "FRONT": "10.213.0.128/26",
        "JOBS": "10.213.0.192/26",
    }


def test_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"ADMIN_USER=\xff\xfe\n")

    with pytest.raises(settings.KitError, match="is not UTF-8 text"):
        settings.load(tmp_path / ".env")


def test_proxy_without_a_scheme_is_taken_as_curl_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example.org:3128")

    assert settings.load(tmp_path / ".env")["HTTPS_PROXY"] == "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("folder", "fine"),
    [
        ("{here}/data", True),
        ("{here}/data,{here}/more", True),
        ("{here}/data/", True),
        ("{here}/missing", False),
        ("{here}/file", False),
        ("{here}/out", False),
        ("{here}/link", False),
        ("{here}/data,{here}/data/inner", False),
        ("{here}/a:b", False),
        ("data", False),
        ("/", False),
        ("/home", False),
        ("/tmp", False),
        ("/etc", False),
        ("/etc/ssl", False),
        ("/proc/self", False),
        ("/var/run", False),
        ("{clone}", False),
        ("{clone}/scripts", False),
    ],
)
def test_folders_for_jobs_are_folders_of_data(tmp_path: Path, folder: str, fine: bool) -> None:
    for name in ("data", "data/inner", "more", "a:b"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to("/etc")
    value = folder.format(here=tmp_path, clone=settings.ROOT)

    if fine:
        assert load(tmp_path, f"JOB_MOUNTS={value}\n")["JOB_MOUNTS"] == value.rstrip("/")
    else:
        assert "JOB_MOUNTS is" in told(tmp_path, f"JOB_MOUNTS={value}\n")


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("JOB_NFS=nfs.example.org:/export/data", True),
        ("JOB_NFS=nfs.example.org:/a,10.0.0.1:/b", True),
        ("JOB_NFS=/export/data", False),
        ("JOB_NFS=nfs.example.org:/export/../etc", False),
        ("JOB_NFS=nfs.example.org:/export,nolock", False),
        ("JOB_IMAGES=registry.example.org:5000/team/*,python:3.13", True),
        ("JOB_IMAGES=**", True),
        ("JOB_IMAGES=https://registry.example.org/team", False),
        ("JOB_IMAGES=Team/Image", False),
    ],
)
def test_shares_and_images_for_jobs_are_written_plainly(tmp_path: Path, line: str, fine: bool) -> None:
    if fine:
        key, _, value = line.partition("=")
        assert load(tmp_path, f"{line}\n")[key] == value
    else:
        assert "write" in told(tmp_path, f"{line}\n")


def test_container_jobs_are_off_until_an_image_is_allowed(tmp_path: Path) -> None:
    assert load(tmp_path, "").runs_containers is False
    assert load(tmp_path, "JOB_IMAGES=python:3.13\n").runs_containers is True
