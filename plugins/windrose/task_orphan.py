"""A task must not outlive its supervisor: it would go on beside its own retry, and nobody would hear its result.

Airflow notices a dead supervisor by its missing heartbeat and starts the task again; the task's own process knows
nothing of it. The kernel can tell it.
"""

from __future__ import annotations

import ctypes
import signal
import sys

from airflow.listeners import hookimpl

from windrose.task_memory import is_task_runner

PR_SET_PDEATHSIG = 1


@hookimpl
def on_starting(component: object) -> None:
    """End this process with its supervisor, if it is a task runner."""
    if is_task_runner(component):
        end_with_parent()


def end_with_parent() -> None:
    """Ask the kernel to kill this process when the one that forked it dies.

    SIGKILL and not SIGTERM: on SIGTERM a task cancels the work it started elsewhere, which its retry would take up.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
