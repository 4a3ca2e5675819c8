from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import compose_jobs, settings
from scripts.containers import Engine
from scripts.errors import KitError


def chosen(folder: Path, text: str) -> settings.Settings:
    (folder / ".env").write_text(text)
    return settings.load(folder / ".env")


def engine(version: str) -> Engine:
    return Engine(version, 8000, 2, Path("/var/lib/docker"), rootless=False, podman=False)


@pytest.fixture(autouse=True)
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compose_jobs, "OVERLAY", tmp_path / "overlay.yaml")
    return tmp_path / "overlay.yaml"


def test_proxy_sees_the_folders_where_they_are(tmp_path: Path, overlay: Path) -> None:
    (tmp_path / "data").mkdir()
    found = chosen(tmp_path, f"JOB_IMAGES=python\nJOB_MOUNTS={tmp_path}/data\n")

    compose_jobs.prepare(found, engine("26.1.5+dfsg1"))

    [volume] = json.loads(overlay.read_text())["services"]["docker-proxy"]["volumes"]
    assert volume == {
        "type": "bind",
        "source": f"{tmp_path}/data",
        "target": f"{tmp_path}/data",
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def test_folders_are_forgotten_when_jobs_are_switched_off(tmp_path: Path, overlay: Path) -> None:
    overlay.write_text("{}")

    compose_jobs.prepare(chosen(tmp_path, ""), engine("25.0.0"))

    assert not overlay.exists()


def test_old_engine_is_refused_where_it_would_follow_links(tmp_path: Path) -> None:
    plain = chosen(tmp_path, "JOB_IMAGES=python\n")
    share = chosen(tmp_path, "JOB_IMAGES=python\nJOB_NFS=nfs.example.org:/data\n")

    assert compose_jobs.prepare(plain, engine("25.0.6"))["WINDROSE_PROJECT"] == "windrose"
    with pytest.raises(KitError, match="JOB_NFS: needs Docker Engine 26 or newer, this one is 25.0.6"):
        compose_jobs.prepare(share, engine("25.0.6"))


def test_tasks_begin_after_the_proxy_and_end_before_it(tmp_path: Path, overlay: Path) -> None:
    compose_jobs.prepare(chosen(tmp_path, "JOB_IMAGES=python\n"), engine("25.0.6"))

    services = json.loads(overlay.read_text())["services"]
    assert services["docker-proxy"]["volumes"] == []
    for name in ("airflow-scheduler", "airflow-worker"):
        assert services[name]["depends_on"] == {"docker-proxy": {"condition": "service_healthy"}}
