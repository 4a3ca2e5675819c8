"""The record of a task's job in the hands of one process: read, taken in hand, shown, and let go of again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from windrose.slurm import intent as intents
from windrose.slurm.intent import Intent, Now, Step

if TYPE_CHECKING:
    from airflow.sdk import Context

XCOM = "slurm_job"  # which job is this task's at present; the hourly sweep in platform-check reads it
BY_SOMEBODY = {"success", "failed", "skipped", "upstream_failed", "removed", "restarting"}
SHOWN = ("platform", "token", "job_id", "name", "folder")


class TaskRecord:
    """What this try knows of the task's job."""

    def __init__(self, context: Context) -> None:
        """Read what earlier tries have written down."""
        self.ti: Any = context["ti"]
        self.store: intents.StateStore = context["task_state_store"]
        clears = getattr(context["dag_run"], "clear_number", 0)
        self.now = Now(self.ti.max_tries or 0, self.ti.task.retries or 0, clears or 0)
        self.earlier = intents.read(self.store)
        self.intent: Intent | None = None

    @property
    def step(self) -> Step:
        """Return what this try has to do."""
        return intents.next_step(self.earlier, self.now)

    @property
    def known(self) -> Intent:
        """Return the job that this try has in hand."""
        if self.intent is None:
            raise RuntimeError("the task has no job yet")
        return self.intent

    @property
    def is_open(self) -> bool:
        """Say whether there may be a job that has not ended."""
        return self.intent is not None and not self.intent.ended

    def begin(self, platform: str) -> None:
        """Take a new job in hand, before anybody is asked for it."""
        self.hold(intents.begin(platform, self.ti.dag_id, self.ti.task_id, self.now))

    def hold(self, known: Intent) -> None:
        """Take a job in hand, and show everybody which one it is."""
        known.hold(self.now)
        self.intent = known
        self.write()
        self.show()

    def let_go(self) -> None:
        """Write down that no process has the task in hand."""
        if self.intent is not None:
            self.intent.held = False
            self.write()

    def write(self) -> None:
        """Write it down."""
        intents.write(self.store, self.known)

    def show(self) -> None:
        """Tell everybody which job this is."""
        self.ti.xcom_push(XCOM, {name: getattr(self.known, name) for name in SHOWN})

    def is_ended_by_somebody(self) -> bool:
        """Ask Airflow whether a person has ended the task; else it is only this process that is being stopped."""
        found = self.ti.get_task_states(
            dag_id=self.ti.dag_id, map_index=self.ti.map_index, task_ids=[self.ti.task_id], run_ids=[self.ti.run_id]
        )
        states = [state for tasks in found.values() for state in tasks.values()]
        # Without any, the run was deleted. Between two tries, the job waits for the next one.
        return not states or any(state in BY_SOMEBODY for state in states)
