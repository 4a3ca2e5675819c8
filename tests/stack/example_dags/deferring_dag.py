"""A task that waits without a slot, and shares data/ with its trigger."""

from pathlib import Path

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions.context import Context
from own_trigger import WritingTrigger


class WritingOperator(BaseOperator):
    """Write, defer, read what the trigger wrote."""

    def execute(self, context: Context) -> None:
        """Write to data/ and wait for the trigger."""
        Path("/opt/airflow/data/from-task").write_text("task", encoding="utf-8")
        self.log.info("the task defers")
        seconds = context["dag_run"].conf["seconds"]
        self.defer(trigger=WritingTrigger(seconds), method_name="resume")

    def resume(self, context: Context, event: str) -> str:
        """Return what the trigger left in data/."""
        self.log.info("the task goes on")
        return Path("/opt/airflow/data/from-trigger").read_text(encoding="utf-8")


with DAG(dag_id="own-deferring", schedule=None, is_paused_upon_creation=False):
    WritingOperator(task_id="wait")
