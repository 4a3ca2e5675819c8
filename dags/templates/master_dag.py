"""Run other DAGs one after the other, one of them only on a condition, and end as they do.

## What it does
`run_fan_out` starts `template-fan-out` and waits for its end. `run_branch` asks the function
`conditionally_trigger` whether to start `template-branch` at all and what to tell it; if not, the task is skipped.
While it waits, a task holds no slot. A retry goes on waiting for the run that was started before.

## Needs
`template-fan-out` and `template-branch` switched on. A paused one is named in the log, and nothing waits for it.

## Parameters
- **Start the second DAG**: the condition. Off: `run_branch` is skipped, `template-branch` gets no run.
- **Message**: handed to `template-branch`; the details of its run show it as *Conf*.
- **Fail on purpose**: handed to `template-fan-out`, which fails; so does this DAG.

## Try it
- `make trigger DAG=template-master WAIT=1`, or the button *Trigger* as the form is: three green tasks. The button
  *Triggered DAG* of a task leads to the run it started.
- Switch off **Start the second DAG**: `run_branch` is skipped, the run is green.
- Switch on **Fail on purpose**: `run_fan_out` is red, and its log names the run that failed. Clear that task, and a
  new run is started.

## Result
The return value of `report`: `{"template-fan-out": "success", "template-branch": "success"}` (`skipped` if it was).
"""

from airflow.sdk import DAG, Param, TriggerRule, task
from functions.conditions import conditionally_trigger
from windrose.operators.dag import DagOperator

with DAG(
    dag_id="template-master",
    description="Run other DAGs one after the other, one of them only on a condition, and end as they do.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    # "{{ params.fail }}" stays true or false on its way to the other DAG, instead of becoming a word.
    render_template_as_native_obj=True,
    tags=["template", "dags"],
    params={
        "condition_param": Param(
            True,
            type="boolean",
            title="Start the second DAG",
            description="The condition: if it does not hold, template-branch is not started",
        ),
        "message": Param("Hii there!!", type="string", title="Message", description="What template-branch is told"),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Let the first DAG fail, and so this one"
        ),
    },
):
    run_fan_out = DagOperator(
        task_id="run_fan_out",
        run_dag_id="template-fan-out",
        conf={"words": ["one", "two"], "fail": "{{ params.fail }}"},
    )
    run_branch = DagOperator(task_id="run_branch", run_dag_id="template-branch", python_callable=conditionally_trigger)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def report(first: dict[str, str] | None, second: dict[str, str] | None) -> dict[str, str]:
        """Show how the others ended; a skipped task has no result."""
        ends = {"template-fan-out": first, "template-branch": second}
        return {dag_id: end["state"] if end else "skipped" for dag_id, end in ends.items()}

    run_fan_out >> run_branch
    report(run_fan_out.output, run_branch.output)
