"""A DAG that starts three others and hands a message on to each of them.

## What it does
`main_setup` and `main_preprocess` make a sentence, `main_utilizer` prints it, and one task after the other starts
`tutorial-sub-1`, `-2` and `-3` with that sentence, a package and a target. It does not wait for their ends.

## Needs
The DAGs `tutorial-sub-1`, `tutorial-sub-2` and `tutorial-sub-3`, not paused.

## Parameters
- `token`: the word that stands for a token. No real one: everybody who may see the run sees it.
- `user`: who runs it; all but small letters and digits becomes a dash.
- `message`: what the user says.
- `target`: to whom.

## Try it
    make trigger DAG=tutorial-main WAIT=1

## Result
Four sentences in four logs. `main_utilizer`: `user-example-com used test and said hello to airflow`. `sub_utilizer` of
the three others: the same up to `hello`, then `to sub-1 that had object to Allas`, `to sub-2 that had job to LUMI` and
`to sub-3 that had Ray to CPouta`.
"""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, get_current_context, task
from functions.general import set_formatted_user

with DAG(
    dag_id="tutorial-main",
    description="A DAG that starts three others and hands a message on to each of them.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["integration"],
    params={
        "token": Param("test", type="string", title="Token", description="A word that stands for a token; no real one"),
        "user": Param("user@example.com", type="string", title="User", description="Who runs it, such as an address"),
        "message": Param("hello", type="string", title="Message", description="What the user says"),
        "target": Param("airflow", type="string", title="Target", description="To whom"),
    },
):

    @task
    def main_setup() -> str:
        """Say who used which token."""
        params = get_current_context()["params"]
        return f"{set_formatted_user(params['user'])} used {params['token']}"

    @task
    def main_preprocess(initial_message: str) -> str:
        """Add what was said."""
        params = get_current_context()["params"]
        return f"{initial_message} and said {params['message']}"

    @task
    def main_utilizer(partial_message: str) -> None:
        """Print the sentence."""
        params = get_current_context()["params"]
        print(f"{partial_message} to {params['target']}")

    initial = main_setup()
    partial = main_preprocess(initial)
    main_utilizer(partial)
    trigger_sub_1 = TriggerDagRunOperator(
        task_id="trigger_sub_1",
        trigger_dag_id="tutorial-sub-1",
        conf={"message": partial, "package": "object", "target": "Allas"},
        wait_for_completion=False,
        poke_interval=20,
        reset_dag_run=True,
    )
    trigger_sub_2 = TriggerDagRunOperator(
        task_id="trigger_sub_2",
        trigger_dag_id="tutorial-sub-2",
        conf={"message": partial, "package": "job", "target": "LUMI"},
        wait_for_completion=False,
        poke_interval=20,
        reset_dag_run=True,
    )
    trigger_sub_3 = TriggerDagRunOperator(
        task_id="trigger_sub_3",
        trigger_dag_id="tutorial-sub-3",
        conf={"message": partial, "package": "Ray", "target": "CPouta"},
        wait_for_completion=False,
        poke_interval=20,
        reset_dag_run=True,
    )

    initial >> partial >> trigger_sub_1 >> trigger_sub_2 >> trigger_sub_3
