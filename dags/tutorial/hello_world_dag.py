"""The smallest DAG there is: one task that prints one word.

## What it does
Prints `airflow` into the task's log.

## Needs
Nothing.

## Parameters
None.

## Try it
    make trigger DAG=tutorial-hello-world WAIT=1

## Result
The log of `hello_world` shows `airflow`.
"""

from airflow.sdk import DAG, task

with DAG(
    dag_id="tutorial-hello-world",
    description="The smallest DAG there is: one task that prints one word.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["integration"],
):

    @task
    def hello_world() -> None:
        """Print the word."""
        print("airflow")

    hello_world()
