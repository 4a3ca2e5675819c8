"""Conditions for DagOperator: should the other DAG run, and what is it told?

A condition gets the task's context and the order of the run. It returns the order, perhaps with another `payload` (the
run's conf), or None: then the other DAG is not started and the task is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Order(Protocol):
    """The run that is about to be ordered."""

    run_id: str
    payload: dict[str, Any]


def conditionally_trigger(context: Mapping[str, Any], dag_run_obj: Order) -> Order | None:
    """Start the other DAG if the parameter `condition_param` is set, and hand on the parameter `message`."""
    if not context["params"]["condition_param"]:
        return None
    dag_run_obj.payload = {**dag_run_obj.payload, "message": context["params"]["message"]}
    return dag_run_obj
