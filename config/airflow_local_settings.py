"""What Airflow runs in every process as it starts."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

HEARTBEAT_FILE = Path("/tmp/worker-heartbeat")  # noqa: S108 - a tmpfs of the worker's container, its health check reads it

# asyncssh tells every channel and request: 13 lines at each poll of a deferred SSH task, some 85 MB of log a day.
# `[logging] namespace_levels` does not reach it, because it is not one of structlog's loggers.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

# Airflow's own code causes this warning, and every task log would begin with it.
warnings.filterwarnings("ignore", message="GitWildMatchPattern", category=DeprecationWarning)


def touch_heartbeat_file(**_: object) -> None:
    """Say that the worker's main process turns its loop; it does so every 2 s, while it has its broker."""
    HEARTBEAT_FILE.touch()


if sys.argv[1:3] == ["celery", "worker"]:
    # Only here: importing celery costs every other process time and memory.
    from celery.signals import heartbeat_sent

    heartbeat_sent.connect(touch_heartbeat_file)
