"""What `make test-dags` finds in a folder of DAGs, asked of the same program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def check(dags: Path, plugins: Path = ROOT / "plugins", hidden: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Read each DAG file in a process of its own with nothing to reach; return file, seconds, dags, problems."""
    home = ROOT / ".windrose" / "test" / "check-dags"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100",
        "PYTHONPATH": f"{dags}:{plugins}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "scripts.in_airflow.check_dags"],
        input=json.dumps({"dags": str(dags), "plugins": str(plugins), "hidden": hidden}),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().rpartition("\n")[2])["files"]
