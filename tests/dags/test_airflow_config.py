"""Does config/airflow.cfg say something that Airflow understands, and nothing it would do anyway?"""

from __future__ import annotations

import configparser
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow.configuration")
from airflow.configuration import conf  # noqa: E402 - only where Airflow is installed

CONFIG = Path(__file__).resolve().parents[2] / "config"
LINES = (CONFIG / "airflow.cfg").read_text().splitlines()
SECRETS = {"fernet_key", "secret_key", "jwt_secret", "sql_alchemy_conn", "broker_url", "result_backend"}


def settings():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(CONFIG / "airflow.cfg")
    return [(section, key, value) for section in parser.sections() for key, value in parser[section].items()]


def default_of(section, key):
    providers = conf.configuration_description
    return providers[section]["options"][key].get("default")


SETTINGS = settings()


def test_there_are_settings_to_check():
    assert len(SETTINGS) >= 15


@pytest.mark.parametrize(("section", "key", "value"), SETTINGS)
def test_setting_is_one_that_airflow_has(section, key, value):
    assert key in conf.configuration_description[section]["options"]


@pytest.mark.parametrize(("section", "key", "value"), SETTINGS)
def test_setting_differs_from_the_default(section, key, value):
    assert value.lower() != str(default_of(section, key)).strip().lower()


@pytest.mark.parametrize(("section", "key", "value"), SETTINGS)
def test_setting_is_no_secret(section, key, value):
    assert key not in SECRETS


def test_every_setting_is_preceded_by_its_reason():
    unexplained = [
        line for before, line in zip(LINES, LINES[1:], strict=False) if "=" in line and not before.startswith("# ")
    ]

    assert unexplained == []


def load_local_settings(monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", argv)
    spec = importlib.util.spec_from_file_location("local_settings_under_test", CONFIG / "airflow_local_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_asyncssh_is_kept_from_filling_the_logs(monkeypatch):
    logging.getLogger("asyncssh").setLevel(logging.DEBUG)

    load_local_settings(monkeypatch, ["airflow", "triggerer"])

    assert logging.getLogger("asyncssh").level == logging.WARNING


@pytest.mark.parametrize(
    ("argv", "listens"), [(["airflow", "celery", "worker", "-q", "x"], True), (["airflow", "triggerer"], False)]
)
def test_only_a_celery_worker_touches_the_heartbeat_file(monkeypatch, tmp_path, argv, listens):
    signals = pytest.importorskip("celery.signals")
    module = load_local_settings(monkeypatch, argv)
    monkeypatch.setattr(module, "HEARTBEAT_FILE", tmp_path / "heartbeat")

    signals.heartbeat_sent.send(sender=None)

    assert module.HEARTBEAT_FILE.exists() == listens


def test_list_of_options_is_the_installed_airflows() -> None:
    from airflow.configuration import conf

    known = {
        f"{section}.{key}".lower() for section, d in conf.configuration_description.items() for key in d["options"]
    }

    assert set((CONFIG.parent / "scripts" / "airflow_options.txt").read_text(encoding="utf-8").split()) == known


FORKS = """
import gc, os, sys
sys.path.insert(0, sys.argv.pop(1))
import airflow_local_settings

def frozen_after_a_fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return gc.get_freeze_count() > 0

print(frozen_after_a_fork(), flush=True)
if os.fork() == 0:
    print(gc.get_freeze_count() > 0, frozen_after_a_fork(), flush=True)
    os._exit(0)
os.wait()
"""


def test_forked_process_leaves_the_memory_it_shares_alone() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, str(CONFIG)], capture_output=True, text=True, check=True)

    # The parent collects its own garbage again; what a child inherited stays frozen, also when it forks itself.
    assert done.stdout.split() == ["False", "True", "True"]


def test_scheduler_keeps_frozen_what_it_shares_with_its_workers() -> None:
    argv = [sys.executable, "-c", FORKS, str(CONFIG), "scheduler"]

    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stdout.split()[0] == "True"
