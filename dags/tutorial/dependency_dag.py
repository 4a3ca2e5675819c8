"""Three tasks in a row, each of which adds to what the one before it returned.

## What it does
`setup` says who used which token, `preprocess` adds the message, `utilizer` adds the target and prints the sentence.
What a task returns reaches the next one as its argument; Airflow keeps it as an XCom, which the page shows.

## Needs
Nothing.

## Parameters
- `token`: the word that stands for a token. No real one: everybody who may see the run sees it.
- `user`: who runs it; all but small letters and digits becomes a dash.
- `message`: what the user says.
- `target`: to whom.

## Try it
    make trigger DAG=tutorial-dependency CONF='{"message": "good morning"}' WAIT=1

## Result
The log of `utilizer` shows `user-example-com used test and said hello to airflow`.
"""

from airflow.sdk import DAG, Param, get_current_context, task
from functions.general import set_formatted_user

with DAG(
    dag_id="tutorial-dependency",
    description="Three tasks in a row, each of which adds to what the one before it returned.",
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
    def setup() -> str:
        """Say who used which token."""
        params = get_current_context()["params"]
        return f"{set_formatted_user(params['user'])} used {params['token']}"

    @task
    def preprocess(initial_message: str) -> str:
        """Add what was said."""
        params = get_current_context()["params"]
        return f"{initial_message} and said {params['message']}"

    @task
    def utilizer(partial_message: str) -> None:
        """Print the sentence."""
        params = get_current_context()["params"]
        print(f"{partial_message} to {params['target']}")

    utilizer(preprocess(setup()))
