"""Starting another DAG when a condition holds, and waiting for its end without a slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import XCOM_RUN_ID, TriggerDagRunOperator
from airflow.providers.standard.triggers.external_task import DagStateTrigger
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSkipException

POLL_SECONDS = 2


@dataclass
class DagRunOrder:
    """The run that is about to be started; a condition may change what the other DAG is told."""

    run_id: str
    payload: dict[str, Any] = field(default_factory=dict)


Condition = Callable[[Context, DagRunOrder], DagRunOrder | None]


class DagOperator(TriggerDagRunOperator):
    """Run another DAG, wait for its end, and end as it does.

    Each run of the task orders one run, whose id follows from the task's own: a retry goes on waiting for the run that
    an earlier try started. Clearing the task orders a new one. A failed run is not ordered again: its own tasks have
    retries.

    :param run_dag_id: the DAG to run (templated)
    :param python_callable: called with the context and the order; returns the order, whose `payload` becomes the run's
        conf, or None: then nothing is started and the task is skipped
    :param conf: the payload that the order starts with (templated)
    """

    def __init__(self, *, run_dag_id: str, python_callable: Condition | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - BaseOperator's
        own = {"retries": 2, "retry_delay": timedelta(seconds=5), "poke_interval": POLL_SECONDS}
        waiting = {"wait_for_completion": True, "deferrable": True}
        super().__init__(trigger_dag_id=run_dag_id, **{**own, **kwargs, **waiting})
        self.python_callable = python_callable

    def execute(self, context: Context) -> None:
        """Ask the condition, start the run, and wait."""
        order = self.order(context)
        self.trigger_run_id, self.conf = order.run_id, order.payload
        self.check_target(context)
        if context["ti"].get_dr_count(dag_id=self.trigger_dag_id, run_ids=[order.run_id]):
            self.log.info("%s has the run %s already, started by an earlier try", self.trigger_dag_id, order.run_id)
            context["ti"].xcom_push(key=XCOM_RUN_ID, value=order.run_id)  # for the link to the run
            self.defer(
                trigger=DagStateTrigger(
                    dag_id=self.trigger_dag_id,
                    states=[*self.allowed_states, *self.failed_states],
                    run_ids=[order.run_id],
                    poll_interval=self.poke_interval,
                ),
                method_name="execute_complete",
            )
        super().execute(context)

    def order(self, context: Context) -> DagRunOrder:
        """Return the run to start; skip this task if the condition wants none."""
        order = DagRunOrder(run_id=run_id(context), payload=dict(self.conf or {}))
        if self.python_callable is None:
            return order
        wanted = self.python_callable(context, order)
        if wanted is None:
            raise AirflowSkipException(f"{self.trigger_dag_id} is not started: the condition says no")
        if not isinstance(wanted, DagRunOrder):
            name = getattr(self.python_callable, "__name__", "python_callable")
            raise AirflowFailException(f"{name} returned {wanted!r}; return the order it was given, or None.")
        return wanted

    def check_target(self, context: Context) -> None:
        """Fail with a sentence when the other DAG cannot run: a paused one would keep this task waiting for ever."""
        try:
            paused = context["ti"].get_dag(self.trigger_dag_id).is_paused
        except AirflowRuntimeError as error:
            raise AirflowFailException(f"there is no DAG {self.trigger_dag_id}; correct `run_dag_id`.") from error
        if paused:
            raise AirflowFailException(f"{self.trigger_dag_id} is paused; switch it on, then clear this task.")

    def execute_complete(self, context: Context, event: tuple[str, dict[str, Any]]) -> dict[str, str]:
        """Return which run it was and how it ended; fail when it failed."""
        answer = event[1]
        self.trigger_run_id = answer["run_ids"][0]
        state = str(answer[self.trigger_run_id])
        if state in self.failed_states:
            problem = f"{self.trigger_dag_id} failed; its run {self.trigger_run_id} says why."
            raise AirflowFailException(f"{problem} Clear this task to run it again.")
        return {"dag_id": self.trigger_dag_id, "run_id": self.trigger_run_id, "state": state}


def run_id(context: Context) -> str:
    """Return the id of the run to order: the same for each retry, another one after the task was cleared."""
    ti = context["ti"]
    cleared = (ti.max_tries or 0) - (ti.task.retries or 0)  # Airflow raises the number of tries by those used up
    place = "" if ti.map_index is None or ti.map_index < 0 else str(ti.map_index)
    parts = [ti.dag_id, ti.run_id, ti.task_id, place, str(cleared or "")]
    return "__".join(part for part in parts if part)
