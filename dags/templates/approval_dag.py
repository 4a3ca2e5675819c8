"""Stop and ask a person, then go on as they answer.

## What it does
`propose` says what it is about to do. `approve` asks for a yes or a no; after a no the rest is skipped. `choose_size`
asks which of two ways to take. While they wait, the tasks hold no slot and survive a restart of everything.

## Needs
Somebody with the role User, Op or Admin who answers. To be told by mail or in a chat that an answer is wanted, describe
`notify-mail` and `notify-webhook` in `secrets.yaml`.

## Parameters
- **Samples**: what the question is about.
- **Wait**: minutes until a question is given up. `approve` then fails; `choose_size` takes the trial run.
- **Fail on purpose**: nobody can answer in time, because `approve` waits for three seconds only.

## Try it
- `make trigger DAG=template-approval`, or the button *Trigger*. Open the run, task `approve`, tab **Required
  Actions**: press *Approve*. Then `choose_size`: *Full run*. All questions that wait are under *Browse*, *Required
  Actions*.
- Once more, and press *Reject*: what follows is skipped, and the run is green. A no is an answer, not a failure.
- Switch on **Fail on purpose**: red within half a minute, and the log says `HITLTimeoutError`.

## Result
The return value of `report`: `{"samples": 1000, "way": "full_run"}`. Who answered is in the tab Required Actions.
"""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLBranchOperator
from airflow.sdk import DAG, Context, Param, TriggerRule, get_current_context, task
from windrose.notifications import Notifier


def wait_as_the_form_says(context: Context) -> None:
    """Set how long a question waits; the operator takes it as a constant only."""
    params = context["params"]
    context["task"].response_timeout = timedelta(seconds=3) if params["fail"] else timedelta(minutes=params["wait"])


with DAG(
    dag_id="template-approval",
    description="Stop and ask a person, then go on as they answer.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "people"],
    params={
        "samples": Param(
            1000, type="integer", minimum=1, title="Samples", description="How many samples the question is about"
        ),
        "wait": Param(
            60,
            type="integer",
            minimum=1,
            maximum=10080,
            title="Wait",
            description="Minutes until a question is given up",
        ),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Wait for an answer for three seconds only"
        ),
    },
):

    @task
    def propose() -> str:
        """Return what a person has to know to decide."""
        return f"{get_current_context()['params']['samples']} samples are going to be computed."

    approve = ApprovalOperator(
        task_id="approve",
        subject="Compute {{ params.samples }} samples?",
        body="{{ ti.xcom_pull(task_ids='propose') }}",
        notifiers=[Notifier()],
        pre_execute=wait_as_the_form_says,
    )
    choose_size = HITLBranchOperator(
        task_id="choose_size",
        subject="All of the {{ params.samples }} samples at once?",
        body="A trial run takes the first hundred.",
        options=["Trial run", "Full run"],
        options_mapping={"Trial run": "trial_run", "Full run": "full_run"},
        defaults=["Trial run"],
        pre_execute=wait_as_the_form_says,
    )

    @task
    def trial_run() -> dict[str, object]:
        """Compute the first hundred."""
        return {"samples": min(100, get_current_context()["params"]["samples"]), "way": "trial_run"}

    @task
    def full_run() -> dict[str, object]:
        """Compute all."""
        return {"samples": get_current_context()["params"]["samples"], "way": "full_run"}

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(results: list[dict[str, object] | None]) -> dict[str, object]:
        """Return the result of the way that was taken."""
        return next(result for result in results if result is not None)

    ways = [trial_run(), full_run()]
    propose() >> approve >> choose_size >> ways
    report(ways)
