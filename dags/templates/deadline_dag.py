"""Tell people that a run is late while it still runs, in place of the SLAs of earlier Airflow releases.

## What it does
A run has ten seconds from the moment it is queued. If it has not ended by then, the scheduler starts the callback of
the deadline, which tells people by mail and webhook. The run itself goes on: a deadline stops nothing
(`execution_timeout` does: see template-retries).

## Needs
Nothing. To be told by mail or in a chat, describe `notify-mail` and `notify-webhook` in `secrets.yaml`.

## Parameters
- **Seconds**: how long the work takes; more than nine is late.
- **Fail on purpose**: the work takes fifteen seconds at least and then fails.

## Try it
- `make trigger DAG=template-deadline WAIT=1`, or the button *Trigger* as the form is: green, and nobody is told.
- **Seconds** `15`: green in the end, but the page of the run counts one missed deadline, *Browse*, *Deadlines* lists
  it, and people are told.
- Switch on **Fail on purpose**: late, and red.

## Result
The return value of `work`: how long it took. What the callback did stands in the log of the service
`airflow-triggerer`: callbacks of deadlines are not tasks.
"""

import time
from datetime import timedelta

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, Param, get_current_context, task
from windrose.notifications import Notifier

LATE_SECONDS = 15

with DAG(
    dag_id="template-deadline",
    description="Tell people that a run is late while it still runs, in place of the SLAs of earlier Airflow releases.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    # AsyncCallback runs in the triggerer. SyncCallback would run where tasks run, but Airflow 3.3.2 gives it no
    # connections. The callback is found by the name of its module: it stands in plugins/, not in this file.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=10),
        callback=AsyncCallback(Notifier),
        name="ten seconds after it was queued",
    ),
    tags=["template", "notification"],
    params={
        "seconds": Param(
            1, type="integer", minimum=0, maximum=600, title="Seconds", description="How long the work takes"
        ),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Let the work be late and fail in the end"
        ),
    },
):

    @task
    def work() -> dict[str, int]:
        """Take time."""
        params = get_current_context()["params"]
        seconds = max(params["seconds"], LATE_SECONDS) if params["fail"] else params["seconds"]
        time.sleep(seconds)
        if params["fail"]:
            raise RuntimeError(f"the work fails on purpose after {seconds} s; trigger the DAG without `fail`.")
        return {"seconds": seconds}

    work()
