"""Make groups of tasks from a YAML file, so that a new dataset is four lines and no Python.

## What it does
Reads `factory.yaml` beside it when the file is parsed. Each dataset becomes a group, each of its steps a task;
`report` gathers what they come to.

## Needs
`factory.yaml` in the same folder. A mistake in it shows as an import error that names its line.

## Parameters
- **Fail on purpose**: the first dataset's last step fails. The other groups finish, `report` does not start.

## Try it
- `make trigger DAG=template-factory WAIT=1`, or the button *Trigger*; unfold the groups in the graph (`+` in a corner
  of the box).
- Copy the four lines of a dataset in `factory.yaml`, give it another name, save: another group within half a minute
  (at once if you save `factory_dag.py` too).
- Write `totl` for `total`: a red note above the list of DAGs, and `make status`, say which line and which steps there
  are. The DAG is gone from the list until the file is right again; its runs are kept.

## Result
The log of `report` shows a table; its return value is `{"sales": 240, "customers": 32}`.
"""

from pathlib import Path

from airflow.sdk import DAG, Param, TaskGroup, get_current_context, task
from functions.dag_factory import Dataset, read_datasets
from functions.tables import format_table

STEPS = {
    "drop_negative": lambda values: [value for value in values if value >= 0],
    "double": lambda values: [2 * value for value in values],
    "total": lambda values: [sum(values)],
}


@task
def take(values: list[int]) -> list[int]:
    """Return what a dataset starts with; in a DAG of yours this fetches it."""
    return values


@task
def do_step(step: str, values: list[int], last_of_first: bool) -> list[int]:
    """Do one step."""
    if last_of_first and get_current_context()["params"]["fail"]:
        raise RuntimeError(f"the step {step} fails on purpose; trigger the DAG without `fail`.")
    result = STEPS[step](values)
    print(f"{step}: {values} -> {result}")
    return result


def make_group(dataset: Dataset, is_first: bool) -> object:
    """Make the tasks of one dataset; return the result of the last one."""
    with TaskGroup(dataset.name, tooltip=dataset.description or ""):
        values: object = take(dataset.values)
        for number, step in enumerate(dataset.steps, start=1):
            last_of_first = is_first and number == len(dataset.steps)
            values = do_step.override(task_id=f"{number}_{step}")(step, values, last_of_first)
    return values


with DAG(
    dag_id="template-factory",
    description="Make groups of tasks from a YAML file, so that a new dataset is four lines and no Python.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "yaml"],
    params={
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Let the last step of the first dataset fail"
        ),
    },
):

    @task
    def report(results: dict[str, list[int]]) -> dict[str, int]:
        """Show what each dataset comes to."""
        totals = {name: values[-1] for name, values in results.items()}
        print(format_table([{"dataset": name, "result": total} for name, total in totals.items()]))
        return totals

    datasets = read_datasets(Path(__file__).with_name("factory.yaml"), STEPS)
    report({dataset.name: make_group(dataset, dataset is datasets[0]) for dataset in datasets})
