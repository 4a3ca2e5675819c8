"""What Airflow runs in every process as it starts."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

HEARTBEAT_FILE = Path("/run/airflow/worker-heartbeat")  # in this container's memory; its health check reads it

# asyncssh tells every channel and request: 13 lines at each poll of a deferred SSH task, some 85 MB of log a day.
# `[logging] namespace_levels` does not reach it, because it is not one of structlog's loggers.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

# Airflow's own code causes this warning, and every task log would begin with it.
warnings.filterwarnings("ignore", message="GitWildMatchPattern", category=DeprecationWarning)
# So does this one, for a DAG with access_control.
warnings.filterwarnings("ignore", message="The airflow.security.permissions module is deprecated")


# Whatever forks (an executor's workers, each task, the triggerer's runner) shares its memory with its parent until
# somebody writes to it, and a garbage collection writes to every object it looks at. It passes over frozen ones.
is_forked = False


def freeze_own() -> None:
    """Keep collections away from what the child will share; what a child itself inherited is frozen already."""
    if not is_forked:
        gc.freeze()


def unfreeze_own() -> None:
    """Let the parent collect its garbage again."""
    if not is_forked:
        gc.unfreeze()


def note_fork() -> None:
    """Remember that what is frozen here is the parent's, too."""
    global is_forked
    is_forked = True


if sys.argv[1:2] == ["scheduler"]:
    # It forks its workers once, at its start. LocalExecutor thaws what they share right after that, and the next
    # collection copied 60 MB; with this, 16 idle workers take less than 8 did.
    gc.unfreeze = lambda: None

os.register_at_fork(before=freeze_own, after_in_parent=unfreeze_own, after_in_child=note_fork)


PR_SET_PDEATHSIG = 1
MAIN_PROCESS = os.getpid()


def end_with_main_process() -> None:
    """Let the kernel kill what the main process forked itself when that dies; what a task forks is its own affair.

    In a container all of it ends together. Without one, workers of a killed scheduler would go on beside the new one.
    """
    if os.getppid() == MAIN_PROCESS:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if os.environ.get("WINDROSE_EMBEDDED") and sys.platform.startswith("linux"):
    os.register_at_fork(after_in_child=end_with_main_process)


def task_instance_mutation_hook(task_instance: Any, dag_run: Any) -> None:  # noqa: ANN401 - Airflow's own
    """Let the pool of its platform bound each task that logs in there."""
    try:
        # Only here: most processes that read this file never make a task.
        from windrose.pools import choose_pool
    except ImportError:  # plugins/ is not what it was; that must not stop the scheduler
        return
    choose_pool(task_instance, dag_run)


def touch_heartbeat_file(**_: object) -> None:
    """Say that the worker's main process turns its loop; it does so every 2 s, while it has its broker."""
    HEARTBEAT_FILE.touch()


if sys.argv[1:3] == ["celery", "worker"]:
    # Only here: importing celery costs every other process time and memory.
    from celery.signals import heartbeat_sent

    heartbeat_sent.connect(touch_heartbeat_file)
