"""Which shipped DAGs does LIBRARY hide where dags/ is read in place? (A container gets an .airflowignore instead.)

Airflow asks `[core] might_contain_dag_callable` of each file that it finds; a hidden one contains no DAG.
"""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile


def might_contain_dag(file_path: str, zip_file: ZipFile | None = None) -> bool:
    """Say whether a file is to be read for DAGs: not a hidden one, and for the rest Airflow's own guess."""
    from airflow.utils.file import might_contain_dag_via_default_heuristic

    home = Path(os.environ["WINDROSE_EMBEDDED"])
    if zip_file is None and is_hidden(Path(file_path), home.parent.parent / "dags", home / "hidden_dags"):
        return False
    return might_contain_dag_via_default_heuristic(file_path, zip_file)


def is_hidden(path: Path, dags: Path, names: Path) -> bool:
    """Say whether a file lies in a folder of dags/ whose name stands in the list."""
    try:
        hidden = names.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
    return path.is_relative_to(dags) and path.relative_to(dags).parts[0] in hidden
