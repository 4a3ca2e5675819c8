"""The scheduled caller: starts `tutorial-main` every 30 seconds once /setup/config has said for whom (docs/api.md)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.airflow_api import airflow_setup_configuration, airflow_trigger_dag

CONFIG = Path(os.environ.get("SUBMITTER_CONFIG", ".windrose/submitter.json"))
PERIOD = float(os.environ.get("SUBMITTER_PERIOD", "30"))
DAG = "tutorial-main"


def read_config() -> dict[str, str] | None:
    """Return what /setup/config has saved, None before that."""
    try:
        return dict(json.loads(CONFIG.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def parameters(config: Mapping[str, str]) -> dict[str, Any]:
    """Return the form of a run; a run's form is shown in the web page, so no token goes into it."""
    return {"user": config["user"]}


def main() -> None:
    """Trigger for ever, a period after the other; a failure is logged, and the next period is another chance."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    configuration = airflow_setup_configuration()
    due = time.monotonic()
    while True:
        config = read_config()
        if config is None:
            logging.info("waiting for POST /setup/config")
        else:
            started = airflow_trigger_dag(configuration, DAG, parameters(config))
            if started:
                logging.info("started %s %s", DAG, started["id"])
        due = max(due + PERIOD, time.monotonic())
        time.sleep(due - time.monotonic())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        logging.info("stopped")
