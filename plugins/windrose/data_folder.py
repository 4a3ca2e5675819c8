"""Where is data/, the folder that every task and trigger shares? In a container and without one it lies elsewhere."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder that is `data/` of the clone."""
    embedded = os.environ.get("WINDROSE_EMBEDDED")
    return Path(embedded).parent.parent / "data" if embedded else Path("/opt/airflow/data")
