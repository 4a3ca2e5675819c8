"""Choose a way by what there is, and go on whichever way was taken.

## What it does
`choose` looks at the number of rows and names the task that runs; the other two are skipped. Three tasks follow, which
differ by their trigger rule, the rule that says which ends of the tasks before it let a task start:

| task | trigger rule | starts when |
|---|---|---|
| `summarise` | `none_failed_min_one_success` | the way that was taken succeeded; the skipped ones do not matter |
| `raise_alarm` | `one_failed` | a way failed |
| `clean_up` | `all_done` | every way has ended, however |

## Needs
Nothing.

## Parameters
- **Rows**: up to 10 000 are done in memory, more in pieces, none at all is a way of its own.
- **Fail on purpose**: the way that is taken fails.

## Try it
- `make trigger DAG=template-branch WAIT=1`, or the button *Trigger* as the form is: `do_in_memory` is green, the
  other two ways are skipped.
- Rows `25000`: `do_in_pieces`. Rows `0`: `do_nothing`.
- Switch on **Fail on purpose**: `raise_alarm` and `clean_up` are green, `summarise` is `upstream_failed`, the run is
  red. A run is as red as its last tasks (those that nothing follows): without `summarise` it would be green.

## Result
The return value of `summarise`: `{"way": "do_in_memory", "rows": 1000, "pieces": 1}`.
"""

from airflow.sdk import DAG, Param, TriggerRule, get_current_context, task

PIECE = 10_000


def work(way: str, pieces: int) -> dict[str, object]:
    """Stand for the work of a way."""
    params = get_current_context()["params"]
    if params["fail"]:
        raise RuntimeError(f"{way} fails on purpose; trigger the DAG without `fail`.")
    print(f"{way}: {params['rows']} rows in {pieces} pieces")
    return {"way": way, "rows": params["rows"], "pieces": pieces}


with DAG(
    dag_id="template-branch",
    description="Choose a way by what there is, and go on whichever way was taken.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "branching"],
    params={
        "rows": Param(
            1000,
            type="integer",
            minimum=0,
            maximum=10_000_000,
            title="Rows",
            description="How many rows there are: it decides which way is taken",
        ),
        "fail": Param(False, type="boolean", title="Fail on purpose", description="Let the way that is taken fail"),
    },
):

    @task.branch
    def choose() -> str:
        """Return the id of the task that is to run; a list of ids takes several ways."""
        rows = int(get_current_context()["params"]["rows"])
        if rows == 0:
            return "do_nothing"
        return "do_in_memory" if rows <= PIECE else "do_in_pieces"

    @task
    def do_nothing() -> dict[str, object]:
        """There are no rows."""
        return work("do_nothing", 0)

    @task
    def do_in_memory() -> dict[str, object]:
        """Few rows: all at once."""
        return work("do_in_memory", 1)

    @task
    def do_in_pieces() -> dict[str, object]:
        """Many rows: piece by piece."""
        return work("do_in_pieces", -(-int(get_current_context()["params"]["rows"]) // PIECE))

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def summarise(results: list[dict[str, object] | None]) -> dict[str, object]:
        """Return the result of the way that was taken; a skipped one has none."""
        return next(result for result in results if result is not None)

    @task(trigger_rule=TriggerRule.ONE_FAILED)
    def raise_alarm() -> None:
        """Say that something went wrong; template-retries shows how people are told."""
        print("a way failed: somebody should look")

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def clean_up() -> None:
        """Remove what the ways left behind, however they ended."""
        print("cleaned up")

    ways = [do_nothing(), do_in_memory(), do_in_pieces()]
    choose() >> ways
    summarise(ways)
    ways >> raise_alarm()
    ways >> clean_up()
