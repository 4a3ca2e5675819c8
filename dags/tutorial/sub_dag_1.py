"""The first of the three DAGs that `tutorial-main` starts.

## What it does
`sub_setup` names this DAG, `sub_preprocess` adds the package, `sub_utilizer` adds the target and prints the sentence.

## Needs
Nothing; `tutorial-main` starts it, or you do.

## Parameters
- `message`: the beginning of the sentence.
- `package`: what it had.
- `target`: where that went.

## Try it
    make trigger DAG=tutorial-sub-1 WAIT=1

## Result
The log of `sub_utilizer` shows `none to sub-1 that had none to none`; started by `tutorial-main`, it shows
`user-example-com used test and said hello to sub-1 that had object to Allas`.
"""

from airflow.sdk import DAG, Param, get_current_context, task

with DAG(
    dag_id="tutorial-sub-1",
    description="The first of the three DAGs that `tutorial-main` starts.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["integration"],
    params={
        "message": Param("none", type="string", title="Message", description="The beginning of the sentence"),
        "package": Param("none", type="string", title="Package", description="What it had, such as object"),
        "target": Param("none", type="string", title="Target", description="Where that went, such as Allas"),
    },
):

    @task
    def sub_setup() -> str:
        """Say which DAG got the message."""
        params = get_current_context()["params"]
        return f"{params['message']} to sub-1"

    @task
    def sub_preprocess(initial_message: str) -> str:
        """Add the package."""
        params = get_current_context()["params"]
        return f"{initial_message} that had {params['package']}"

    @task
    def sub_utilizer(partial_message: str) -> None:
        """Print the sentence."""
        params = get_current_context()["params"]
        print(f"{partial_message} to {params['target']}")

    sub_utilizer(sub_preprocess(sub_setup()))
