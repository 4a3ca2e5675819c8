"""No secret where others could read it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.embedded.conftest import Embedded
from tests.processes import read_bytes

NOT_FOR_ALL = 0o077


def test_no_secret_in_any_command_line_or_environment(stack: Embedded) -> None:
    secrets = [value.encode() for value in stack.secrets().values()]
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]

    seen = {(pid, name): read_bytes(Path(f"/proc/{pid}/{name}")) for pid in pids for name in ("cmdline", "environ")}

    assert len(secrets) == 6
    assert any(str(stack.folder).encode() in text for text in seen.values())
    assert [place for place, text in seen.items() if any(secret in text for secret in secrets)] == []


def test_no_secret_in_a_log_or_in_what_make_said(stack: Embedded) -> None:
    secrets = list(stack.secrets().values())
    folders = (stack.home / "logs", stack.folder / "logs")
    texts = {str(path): path.read_text(errors="replace") for f in folders for path in f.rglob("*") if path.is_file()}

    assert len(texts) >= 5
    assert [name for name, text in texts.items() if any(secret in text for secret in secrets)] == []
    assert not any(secret in text for text in stack.said for secret in secrets)


def test_files_are_for_their_owner_alone(stack: Embedded) -> None:
    folders = (stack.home, stack.folder / "secrets")
    paths = [Path(place, name) for f in folders for place, _, names in os.walk(f) for name in names]
    open_ones = [path.name for path in paths if not path.is_symlink() and path.stat().st_mode & NOT_FOR_ALL]

    assert len(paths) > 15
    # What lies below a closed folder is closed, whatever it says itself; these folders are the doors.
    assert [f for f in folders if f.stat().st_mode & NOT_FOR_ALL] == []
    assert set(open_ones) & {"airflow.cfg", "airflow.db", "fernet_key", "admin_password", "wanted.json"} == set()
    task_logs = [path for path in (stack.folder / "logs").rglob("*.log") if "run_id" in str(path)]
    assert task_logs and [path for path in task_logs if path.stat().st_mode & NOT_FOR_ALL] == []


def test_nothing_was_written_outside_the_clone(stack: Embedded) -> None:
    home = stack.home / "home"

    assert home.stat().st_mode & NOT_FOR_ALL == 0
    assert not (Path.home() / "airflow").exists() or (Path.home() / "airflow").stat().st_mtime < stack_began(stack)
    assert not Path("/tmp/airflow").exists() or Path("/tmp/airflow").stat().st_mtime < stack_began(stack)


def stack_began(stack: Embedded) -> float:
    """Return when the copy was made."""
    return (stack.folder / ".env").parent.stat().st_ctime - 3600
