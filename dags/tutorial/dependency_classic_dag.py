"""The same three tasks as `tutorial-dependency`, written with operators instead of decorators.

## What it does
Each task is a `PythonOperator` with a plain function. Its arguments are templates, filled in when the task starts: from
the form, or from what an earlier task returned (`.output`). `>>` says what comes after what.

## Needs
Nothing.

## Parameters
- `token`: the word that stands for a token. No real one: everybody who may see the run sees it.
- `user`: who runs it; all but small letters and digits becomes a dash.
- `message`: what the user says.
- `target`: to whom.

## Try it
    make trigger DAG=tutorial-dependency-classic CONF='{"message": "good morning"}' WAIT=1

## Result
The log of `utilizer` shows `user-example-com used test and said hello to airflow`.
"""

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param
from functions.general import set_formatted_user


def say_who(user: str, token: str) -> str:
    """Say who used which token."""
    return f"{set_formatted_user(user)} used {token}"


def add_message(initial_message: str, message: str) -> str:
    """Add what was said."""
    return f"{initial_message} and said {message}"


def print_sentence(partial_message: str, target: str) -> None:
    """Print the sentence."""
    print(f"{partial_message} to {target}")


with DAG(
    dag_id="tutorial-dependency-classic",
    description="The same three tasks as `tutorial-dependency`, written with operators instead of decorators.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["tutorial", "classic"],
    params={
        "token": Param("test", type="string", title="Token", description="A word that stands for a token; no real one"),
        "user": Param("user@example.com", type="string", title="User", description="Who runs it, such as an address"),
        "message": Param("hello", type="string", title="Message", description="What the user says"),
        "target": Param("airflow", type="string", title="Target", description="To whom"),
    },
):
    setup = PythonOperator(
        task_id="setup",
        python_callable=say_who,
        op_kwargs={"user": "{{ params.user }}", "token": "{{ params.token }}"},
    )
    preprocess = PythonOperator(
        task_id="preprocess",
        python_callable=add_message,
        op_kwargs={"initial_message": setup.output, "message": "{{ params.message }}"},
    )
    utilizer = PythonOperator(
        task_id="utilizer",
        python_callable=print_sentence,
        op_kwargs={"partial_message": preprocess.output, "target": "{{ params.target }}"},
    )

    setup >> preprocess >> utilizer
