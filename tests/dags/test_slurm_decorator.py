"""Tasks in the form of functions that return what a Slurm job runs."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from windrose.decorators import slurm_task
from windrose.operators.slurm import SlurmOperator


@pytest.fixture
def dag():
    with DAG("functions", schedule=None) as dag:
        yield dag


def test_function_returns_the_command(dag):
    @slurm_task(platform="hpc", time="1:00:00", gpus=1)
    def train(rate: float, params: dict | None = None) -> str:
        return f"train --rate {rate} --name {params['name']}"

    train(0.1)

    task = dag.task_dict["train"]
    assert isinstance(task, SlurmOperator)
    assert (task.platform, task.time, task.gpus, task.retries) == ("hpc", "1:00:00", 1, 3)
    assert task.program({"params": {"name": "x"}}) == ("train --rate 0.1 --name x", "")


def test_text_with_a_first_line_of_its_own_is_a_script(dag):
    @slurm_task(platform="hpc")
    def count() -> str:
        return "#!/usr/bin/env python3\nprint('{{ no template }}')\n"

    count()

    assert dag.task_dict["count"].program({}) == ("", "#!/usr/bin/env python3\nprint('{{ no template }}')\n")


@pytest.mark.parametrize("returned", [None, "", "  ", 3])
def test_function_that_returns_nothing_to_run_is_told(dag, returned):
    @slurm_task(platform="hpc")
    def empty():
        return returned

    empty()

    with pytest.raises(AirflowFailException, match="empty returned .*; return a command"):
        dag.task_dict["empty"].program({})


def test_override_changes_what_the_job_asks_for(dag):
    @slurm_task(platform="hpc", cpus=1)
    def work() -> str:
        return "true"

    work()
    work.override(task_id="large", cpus=8, memory="64G")()

    assert [(task.task_id, task.cpus, task.memory) for task in dag.tasks] == [("work", 1, None), ("large", 8, "64G")]


def test_expand_makes_a_job_of_each_argument(dag):
    @slurm_task(platform="hpc", time=5)
    def scan(index: int) -> str:
        return f"scan {index}"

    scan.partial().expand(index=[3, 4])

    mapped = dag.task_dict["scan"]
    one = mapped.unmap({"op_kwargs": {"index": 4}})
    assert (one.platform, one.time, one.program({})) == ("hpc", 5, ("scan 4", ""))


def test_template_fields_are_those_of_the_operator_and_the_function(dag):
    @slurm_task(platform="{{ params.platform }}")
    def work(name: str) -> str:
        return name

    work("{{ run_id }}")

    task = dag.task_dict["work"]
    task.render_template_fields({"params": {"platform": "hpc-lumi"}, "run_id": "r"})
    assert (task.platform, task.program({})) == ("hpc-lumi", ("r", ""))
