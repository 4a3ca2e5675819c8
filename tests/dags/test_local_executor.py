"""The executor: a deferred task goes on once the process that deferred it was heard to end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState
from windrose import local_executor

KEY = TaskInstanceKey("dag", "task", "run", 1)


class WithoutWorkers(local_executor.LocalExecutor):
    """The executor, whose workers are played by the test: when they say a word decides what happens."""

    def _check_workers(self) -> None:
        """Start none."""


@pytest.fixture
def executor() -> WithoutWorkers:
    executor = WithoutWorkers(parallelism=4)
    executor.is_mp_using_fork = False
    executor.start()
    return executor


def offer(executor: WithoutWorkers, key: TaskInstanceKey = KEY) -> None:
    """Let the scheduler ask for a task."""
    workload: Any = SimpleNamespace(key=key, ti=SimpleNamespace(priority_weight=1))
    executor.queued_tasks[key] = workload


def sent(executor: WithoutWorkers) -> list[TaskInstanceKey]:
    """Return what workers were given since the last time."""
    found = []
    while not executor.activity_queue.empty():
        found.append(executor.activity_queue.get().key)
    return found


def hear(executor: WithoutWorkers, state: TaskInstanceState, key: TaskInstanceKey = KEY) -> None:
    """Let a worker say that its process has ended."""
    executor.result_queue.put((key, state, None))


def test_task_goes_on_after_its_process_before_was_heard_to_end(executor: WithoutWorkers) -> None:
    offer(executor)
    executor.heartbeat()
    assert sent(executor) == [KEY]

    # Deferred, and its trigger has fired already.
    offer(executor)
    executor.heartbeat()
    assert (sent(executor), list(executor.queued_tasks)) == ([], [KEY])

    hear(executor, TaskInstanceState.SUCCESS)
    executor.heartbeat()
    # The scheduler asks whether the executor has the task, as it hears of the end: only then it does not fail it.
    instance: Any = SimpleNamespace(id=None, key=KEY)
    assert (executor.get_event_buffer()[KEY][0], executor.has_task(instance)) == (TaskInstanceState.SUCCESS, True)

    executor.heartbeat()
    assert (sent(executor), executor.queued_tasks) == ([KEY], {})


def test_others_do_not_wait_with_it(executor: WithoutWorkers) -> None:
    others = [KEY.with_try_number(2), KEY._replace(map_index=3)]
    offer(executor)
    executor.heartbeat()
    assert sent(executor) == [KEY]

    for key in [KEY, *others]:
        offer(executor, key)
    executor.heartbeat()

    assert sent(executor) == others


def test_process_that_ends_without_a_word_is_not_waited_for_without_end(
    executor: WithoutWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(executor)
    executor.heartbeat()
    offer(executor)
    executor.heartbeat()
    assert sent(executor) == [KEY]

    monkeypatch.setattr(local_executor, "LONGEST", 0.0)
    executor.heartbeat()

    assert sent(executor) == [KEY]
