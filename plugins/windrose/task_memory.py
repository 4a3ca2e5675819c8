"""Which process dies when a container runs out of memory? The task, never the service that runs it.

A task runs as a fork of the scheduler or the worker, in the same container, under the same memory limit. The kernel
kills the process with the highest score, which need not be the task: here every task runner offers itself first.
Its supervisor survives and writes the reason into the task's log.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

SCORE_FILE = Path("/proc/self/oom_score_adj")
FIRST_TO_DIE = 1000
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4


@hookimpl
def on_starting(component: object) -> None:
    """Offer this process to the kernel, if it is a task runner.

    Airflow calls this in the forked task runner before it imports the DAG file, so an import that eats all memory is
    covered too (`on_task_instance_running` would come after it). Schedulers and other jobs call it as well, with
    another component; the triggerer and the DAG processor fork no task runners.
    """
    if is_task_runner(component):
        offer_this_process()


def is_task_runner(component: object) -> bool:
    """Say whether the component that starts is a task runner."""
    return type(component).__name__ == "TaskRunnerMarker"


def offer_this_process(score_file: Path = SCORE_FILE) -> None:
    """Give this process, and all it starts from now on, the highest out-of-memory score."""
    if not sys.platform.startswith("linux"):
        return
    try:
        write_score(score_file)
    except OSError as error:
        # A task must never fail for the want of a better victim.
        log.warning("could not make this task the first to go when memory runs out: %s", error)


def write_score(score_file: Path) -> None:
    """Write the score; raising it needs no capability, but the file must be ours.

    Airflow makes a task's supervisor, and with it the forked task, "non-dumpable", so that no other process of the
    same user reads its memory. The kernel then gives everything in /proc/self to root. The mark is lifted for this
    one write and set again.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    dumpable = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    try:
        if dumpable == 0:
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        score_file.write_text(str(FIRST_TO_DIE))
    finally:
        if dumpable == 0:
            libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
