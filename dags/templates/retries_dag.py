"""Try again what fails, stop what takes too long, and tell people when nothing helped.

## What it does
`work` fails as often as the form says before it succeeds. It has two retries: the first after one to two seconds, the
next after twice that (*exponential backoff*, so that a server in trouble is left in peace). A try that takes longer
than five seconds is stopped. When the last try has failed, people are told twice: by the task, and by the DAG.

## Needs
Nothing. To be told by mail or in a chat, describe `notify-mail` and `notify-webhook` in `secrets.yaml`
(`docs/templates.md` shows how); without them the log says what would have been sent.

## Parameters
- **Failures**: how many tries fail before one succeeds.
- **Seconds**: how long a try works; more than 5 is too long.
- **Fail on purpose**: every try fails.

## Try it
- `make trigger DAG=template-retries WAIT=1`, or the button *Trigger* as the form is: the square says
  `up_for_retry`, then it is green. Its log has two tries to choose from.
- **Seconds** `8`: each try is stopped, and the log says `AirflowTaskTimeout`.
- Switch on **Fail on purpose**: three tries, then red. The last lines of the third log say who was told.

## Result
The return value of `work`: `{"tries": 2}`.
"""

import time
from datetime import timedelta

from airflow.sdk import DAG, Param, get_current_context, task
from windrose.notifications import Notifier

with DAG(
    dag_id="template-retries",
    description="Try again what fails, stop what takes too long, and tell people when nothing helped.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "notification"],
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(seconds=5),
        "on_failure_callback": Notifier(),
    },
    on_failure_callback=Notifier(),
    params={
        "failures": Param(
            1,
            type="integer",
            minimum=0,
            maximum=10,
            title="Failures",
            description="How many tries fail before one succeeds; there are three tries",
        ),
        "seconds": Param(
            0,
            type="integer",
            minimum=0,
            maximum=600,
            title="Seconds",
            description="How long a try works; it is stopped after five",
        ),
        "fail": Param(False, type="boolean", title="Fail on purpose", description="Let every try fail"),
    },
):

    @task
    def work() -> dict[str, int]:
        """Fail, take time, or succeed."""
        context = get_current_context()
        params, number = context["params"], context["ti"].try_number
        time.sleep(params["seconds"])
        if params["fail"] or number <= params["failures"]:
            raise RuntimeError(f"try {number} fails on purpose; the form says so.")
        print(f"try {number} succeeds")
        return {"tries": number}

    work()
