"""What the weekly report says of the facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plugins.windrose import maintenance
from plugins.windrose.maintenance import Disk

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
ROOMY = Disk("logs/", 5_000_000, 12, True, 50 * 10**9, 100 * 10**9)


def ago(**how_long: float) -> str:
    return (NOW - timedelta(**how_long)).isoformat()


def facts(**changed: Any) -> dict[str, Any]:
    quiet = {
        "version": 1,
        "written": ago(minutes=10),
        "cleaned": None,
        "days": 7,
        "runs": {},
        "dags": [],
        "failed_runs": [],
        "failed_tasks": [],
        "unfinished": [],
        "import_errors": [],
        "heartbeats": {
            "SchedulerJob": ago(minutes=10),
            "DagProcessorJob": ago(minutes=10),
            "TriggererJob": ago(minutes=10),
        },
        "database_bytes": 12_300_000,
        "oldest_run": None,
    }
    return {**quiet, **changed}


def page(found: dict[str, Any], *disks: Disk, rows: int = 10) -> str:
    return maintenance.page(found, list(disks or [ROOMY]), now=NOW, rows=rows)


def test_quiet_week_needs_nobody() -> None:
    text = page(facts())

    assert "Nothing needs you." in text
    assert "Size: 12.3 MB. Nothing was deleted from it yet." in text
    assert "| logs/ | 5.0 MB | 12 | 50.0 GB of 100.0 GB |" in text
    assert "Failed runs" not in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"written": ago(hours=4)}, "The facts are from 2026-03-02 02:00 UTC;", id="old"),
        pytest.param(
            {"import_errors": [{"file": "a.py", "since": ago(days=1), "error": "NameError: x"}]},
            "1 file of dags/ cannot be imported",
            id="broken file",
        ),
        pytest.param({"heartbeats": {}}, "The triggerer had no heartbeat", id="dead service"),
        pytest.param(
            {"unfinished": [{"dag_id": "a", "run_id": "r", "since": ago(days=9)}]}, "1 run under way", id="stuck"
        ),
        pytest.param(
            {
                "cleaned": {
                    **{"at": ago(hours=5), "before": ago(days=90), "days": 90, "seconds": 2.0, "rows": {}, "kept": []},
                    "problem": "the cleaning ended early",
                }
            },
            "Old history was not deleted completely: the cleaning ended early",
            id="cleaning",
        ),
    ],
)
def test_what_needs_a_person_comes_first(changed: dict[str, Any], said: str) -> None:
    text = page(facts(**changed))

    assert said in text.split("## Runs")[0]
    assert "Nothing needs you." not in text


def test_full_disk_is_told() -> None:
    assert "The disk of data/ is almost full: 5.0 GB of 100.0 GB are free." in page(
        facts(), Disk("data/", 1, 1, True, 5 * 10**9, 100 * 10**9)
    )


def test_tables_show_as_many_rows_as_wanted_and_no_cell_breaks_them() -> None:
    failed = [{"dag_id": f"d|{number}", "run_id": "manual\nx", "ended": None} for number in range(5)]

    text = page(facts(runs={"failed": 5, "success": 2}, failed_runs=failed), rows=2)

    assert "7 began: 5 failed, 2 success" in text
    assert "| d\\|0 | manual x |  |" in text
    assert "... and 3 more" in text and "d\\|2" not in text


def test_what_was_deleted_is_told_with_what_was_kept() -> None:
    cleaned = {
        **{"at": ago(hours=5), "before": ago(days=90), "days": 90, "seconds": 2.5, "problem": ""},
        **{"rows": {"dag_run": 12, "log": 3}, "kept": ["waiting"]},
    }

    text = page(facts(cleaned=cleaned, oldest_run=ago(days=95)))

    assert "what was older than 90 days: 12 of dag_run, 3 of log." in text
    assert "Kept, because an old run is under way: waiting." in text
    assert "the oldest run began 2025-11-27 06:00 UTC" in text


def test_sizes_of_a_folder_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "link").symlink_to("/etc/passwd")

    found = maintenance.look_at("data/", tmp_path)

    assert (found.files, 1000 <= found.used < 1100, found.is_all, found.size > 0) == (2, True, True, True)


def test_missing_facts_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(maintenance.NoFacts, match="the janitor has written no facts yet"):
        maintenance.read_facts(tmp_path / "report.json")
    (tmp_path / "report.json").write_text(json.dumps(facts()))
    assert maintenance.read_facts(tmp_path / "report.json")["days"] == 7
