"""What a user edits is never in the way of an update."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import tree
from scripts.settings import SHIPPED_FOLDERS

YOURS = (
    ".env",
    "secrets.yaml",
    "packages.local.txt",
    "packages.local.apt",
    "config/airflow.local.cfg",
    "docker-compose.override.yaml",
    "dags/mine/my_dag.py",
    "dags/lone_dag.py",
    "plugins/my_plugin.py",
    "data/result.csv",
    "logs/dag_id=a/attempt=1.log",
    "secrets/fernet_key",
)


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def upstream(clone: Path) -> Path:
    git(clone, "init", "--quiet", "--initial-branch=main")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message=release 1")
    return clone


def test_edits_of_everything_that_is_yours_survive_an_update_without_a_conflict(upstream: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    git(tmp_path, "clone", "--quiet", str(upstream), str(mine))
    for name in YOURS:
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(f"mine: {name}\n")
    shipped = [path for path in tree.files(upstream) if (upstream / path).suffix != ".png"]
    for path in shipped:
        with (upstream / path).open("a") as file:
            file.write("\n# release 2\n")
    git(upstream, "commit", "--quiet", "--all", "--message=release 2")

    git(mine, "pull", "--quiet", "--ff-only")

    assert git(mine, "status", "--porcelain") == ""
    assert [(mine / name).read_text() for name in YOURS] == [f"mine: {name}\n" for name in YOURS]
    assert (mine / "Makefile").read_text().endswith("# release 2\n")


def test_every_shipped_folder_of_dags_is_in_git_and_no_other(upstream: Path) -> None:
    for name in SHIPPED_FOLDERS:
        (upstream / "dags" / name).mkdir(exist_ok=True)
        (upstream / "dags" / name / "new_dag.py").write_text("")
    (upstream / "dags" / "mine").mkdir()
    (upstream / "dags" / "mine" / "new_dag.py").write_text("")

    added = git(upstream, "status", "--porcelain", "--untracked-files=all").split()

    assert sorted(name for name in added if name != "??") == sorted(
        f"dags/{name}/new_dag.py" for name in SHIPPED_FOLDERS
    )
