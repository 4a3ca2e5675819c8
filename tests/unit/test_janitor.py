from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.in_airflow import janitor

ROOT = Path(__file__).parents[2]
NOW = time.time()
DAY = 86400


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


def write(logs: Path, name: str, *, days_old: float, size: int = 10) -> Path:
    path = logs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - days_old * DAY, NOW - days_old * DAY))
    return path


def test_old_logs_go_and_younger_ones_stay(logs: Path) -> None:
    old = write(logs, "dag_id=a/run_id=1/attempt=1.log", days_old=40)
    young = write(logs, "dag_id=a/run_id=2/attempt=1.log", days_old=3)

    freed = janitor.clean(logs, now=NOW, days=30, megabytes=100)

    assert (old.exists(), young.exists(), freed) == (False, True, 10)


def test_oldest_logs_go_until_the_rest_fits(logs: Path) -> None:
    files = [write(logs, f"{age}.log", days_old=age, size=600_000) for age in (4, 3, 2, 1)]

    janitor.clean(logs, now=NOW, days=30, megabytes=2)

    assert [file.exists() for file in files] == [False, True, True, True]


def test_log_that_a_task_may_still_write_stays_whatever_the_size(logs: Path) -> None:
    busy = write(logs, "busy.log", days_old=0.01, size=3_000_000)

    janitor.clean(logs, now=NOW, days=30, megabytes=1)

    assert busy.exists()


def test_folders_left_empty_go_and_fresh_ones_stay(logs: Path) -> None:
    write(logs, "dag_id=a/run_id=1/attempt=1.log", days_old=40)
    fresh = logs / "dag_id=b"
    fresh.mkdir()

    janitor.clean(logs, now=NOW, days=30, megabytes=100)
    after_one_pass = fresh.exists()
    janitor.clean(logs, now=NOW + 2 * 3600, days=30, megabytes=100)

    assert (after_one_pass, list(logs.iterdir())) == (True, [])


def test_link_out_of_the_folder_is_not_followed(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    kept = write(outside, "kept.log", days_old=400)
    (logs / "latest").symlink_to(outside)

    janitor.clean(logs, now=NOW, days=30, megabytes=1)

    assert kept.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that is not ours")
def test_file_that_is_not_ours_does_not_stop_the_rest(logs: Path) -> None:
    logs.chmod(0o755)
    foreign = write(logs, "foreign/1.log", days_old=50)
    ours = write(logs, "ours/1.log", days_old=40)
    os.chown(ours.parent, 50000, 0)

    code = f"""
import os
from datetime import UTC, datetime
from pathlib import Path
from scripts.in_airflow import janitor
os.setuid(50000)
janitor.clean(Path({str(logs)!r}), now={NOW}, days=30, megabytes=100)
"""
    for parent in logs.parents[:-2]:
        parent.chmod(0o755)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    assert (foreign.exists(), ours.exists()) == (True, False)


@pytest.fixture
def care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> janitor.DatabaseCare:
    """What looks after the database, since a second ago; its program only notes how it was called."""
    program = tmp_path / "program.py"
    program.write_text(f"import sys; open({str(tmp_path / 'called')!r}, 'a').write(f'{{sys.argv[1:]}}\\n')\n")
    monkeypatch.setattr(janitor, "CARE", program)
    monkeypatch.setattr(janitor, "REPORT", tmp_path / "report.json")
    return janitor.DatabaseCare(started=0.0, days=90)


def steps(care: janitor.DatabaseCare, *moments: float) -> list[list[str] | None]:
    found = []
    for moment in moments:
        found.append(care.step(now=moment))
        if care.child:
            care.child.wait(10)
    return found


def test_database_is_left_alone_at_the_start(care: janitor.DatabaseCare, tmp_path: Path) -> None:
    assert steps(care, 1, 60, 119) == [None, None, None]
    assert not (tmp_path / "called").exists()


def test_facts_come_first_and_cleaning_when_the_start_is_over(care: janitor.DatabaseCare, tmp_path: Path) -> None:
    assert steps(care, 121, 300, 601, 700, 601 + 3601) == [[], None, ["clean"], None, ["clean"]]
    assert (tmp_path / "called").read_text() == "[]\n['clean']\n['clean']\n"


def test_what_was_cleaned_today_is_not_cleaned_again_after_a_restart(care: janitor.DatabaseCare) -> None:
    janitor.REPORT.write_text(json.dumps({"cleaned": {"at": datetime.fromtimestamp(NOW - 3600, UTC).isoformat()}}))

    today = steps(care, 700)
    janitor.REPORT.write_text(json.dumps({"cleaned": {"at": datetime.fromtimestamp(NOW - 90000, UTC).isoformat()}}))
    tomorrow = steps(care, 700 + 3601)

    assert (today, tomorrow) == ([[]], [["clean"]])


def test_without_an_age_there_are_only_facts(care: janitor.DatabaseCare) -> None:
    care.days = 0

    assert steps(care, 121, 601, 700, 4000) == [[], None, None, []]


def test_cleaning_that_hangs_is_ended_after_an_hour(care: janitor.DatabaseCare) -> None:
    janitor.CARE.write_text("import time; time.sleep(60)")

    assert care.step(now=700) == ["clean"]
    assert care.step(now=800) is None
    assert care.child is not None and care.child.poll() is None
    assert care.step(now=700 + 3602) is None
    assert care.child.wait(10) < 0


def test_report_that_is_broken_is_no_cleaning(care: janitor.DatabaseCare) -> None:
    janitor.REPORT.write_text('{"cleaned": null')

    assert janitor.last_cleaning() == 0.0
