"""How much memory each service may take, and how many tasks run at once: the one table of numbers."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.errors import KitError
from scripts.settings import Settings

LEAST_MEMORY_MB = 3000
KEPT_FOR_THE_MACHINE = 0.12  # of all memory: the engine, the page cache of the disk, a login shell

# service: (share of memory, at least, at most), in MB. What is left runs tasks.
SHARES = {
    "postgres": (0.10, 256, 4096),
    "apiserver": (0.12, 640, 3072),
    "dag_processor": (0.10, 512, 3072),
    "triggerer": (0.10, 512, 3072),
}
FIXED = {"janitor": 256, "init": 1024}
SCHEDULER_ALONE_MB = 512  # the scheduler itself, beside the tasks it runs
VALKEY_MB = 128
A_TASK_MB = 256  # a task that does little takes 60 to 200 MB
TASKS_PER_CORE = (
    8  # most tasks wait for something far away; on 2 cores, 16 at once ran 580 to 860 short ones a minute, 8 ran 390
)
MOST_TASKS = 64  # each one more is a process that waits, 4 MB; PARALLELISM goes higher


@dataclass(frozen=True, slots=True)
class Limits:
    """Megabytes a service, and tasks at once."""

    memory: dict[str, int]
    parallelism: int
    tasks_per_worker: int


def compute(settings: Settings, *, memory_mb: int, cores: int) -> Limits:
    """Share out the machine's memory."""
    total = int(settings["MEMORY_MB"] or memory_mb)
    if total < LEAST_MEMORY_MB:
        raise KitError(
            "memory",
            f"the engine has {total} MB, the stack needs {LEAST_MEMORY_MB} MB",
            "give the machine (or Docker Desktop's virtual machine) more memory",
        )
    memory = {name: min(most, max(least, int(total * share))) for name, (share, least, most) in SHARES.items()}
    left = int(total * (1 - KEPT_FOR_THE_MACHINE)) - sum(memory.values()) - FIXED["janitor"]
    if settings.uses_celery:
        memory |= {"scheduler": SCHEDULER_ALONE_MB, "valkey": VALKEY_MB}
        workers = int(settings["WORKERS"])
        memory["worker"] = max(512, (left - SCHEDULER_ALONE_MB - VALKEY_MB) // workers)
        for_tasks = memory["worker"] * workers
    else:
        workers = 1
        memory["scheduler"] = max(SCHEDULER_ALONE_MB + 512, left)
        for_tasks = memory["scheduler"] - SCHEDULER_ALONE_MB
    fitting = max(2, min(for_tasks // A_TASK_MB, cores * TASKS_PER_CORE * workers, MOST_TASKS))
    parallelism = int(settings["PARALLELISM"] or fitting)
    return Limits({**memory, "init": FIXED["init"]}, parallelism, max(1, -(-parallelism // workers)))
