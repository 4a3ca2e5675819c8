"""Do the same for each item of a list, side by side, then gather the results.

## What it does
`read_items` takes the list of the form, one task `measure` a word looks at it, and `gather` puts the results together.
How many tasks there are is decided by the run, not by the file: `expand` makes one for each item.

## Needs
Nothing.

## Parameters
- **Words**: what to work on, one task for each.
- **Fail on purpose**: the last word's task fails. The others still finish, and `gather` does not start.

## Try it
- `make trigger DAG=template-fan-out WAIT=1`, or the button *Trigger* as the form is: three tasks `measure`, named
  after their words, at most two at a time.
- Give it ten words: ten tasks, without a change of the file.
- Switch on **Fail on purpose**: the run is red, one square of `measure` is red, `gather` says `upstream_failed`.
  Clear the red one: it alone is tried again, its neighbours keep their results.

## Result
The log of `gather` shows a table; its return value (tab XCom) is `{"words": 3, "letters": 12, "longest": "green"}`.
"""

from airflow.sdk import DAG, Param, get_current_context, task
from functions.tables import format_table

with DAG(
    dag_id="template-fan-out",
    description="Do the same for each item of a list, side by side, then gather the results.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "mapping"],
    params={
        "words": Param(
            ["red", "green", "blue"],
            type="array",
            items={"type": "string", "minLength": 1},
            minItems=1,
            maxItems=100,
            title="Words",
            description="One task is made for each of them",
        ),
        "fail": Param(False, type="boolean", title="Fail on purpose", description="Let the task of the last word fail"),
    },
):

    @task
    def read_items() -> list[str]:
        """Return the list; in a DAG of yours this may be a query or the files of a folder."""
        words: list[str] = get_current_context()["params"]["words"]
        print(f"{len(words)} words")
        return words

    # map_index_template names each task in the grid; max_active_tis_per_dagrun says how many run side by side.
    @task(map_index_template="{{ word }}", max_active_tis_per_dagrun=2)
    def measure(word: str) -> dict[str, object]:
        """Look at one word."""
        context = get_current_context()
        context["word"] = word  # type: ignore[typeddict-unknown-key]
        params = context["params"]
        if params["fail"] and word == params["words"][-1]:
            raise RuntimeError(f"the word {word} fails on purpose; trigger the DAG without `fail`.")
        return {"word": word, "letters": len(word)}

    @task
    def gather(rows: list[dict[str, object]]) -> dict[str, object]:
        """Put the results together; they come in the order of the list."""
        found = rows[:]  # all in one question to the database; a loop over rows asks for each
        print(format_table(found))
        letters = {str(row["word"]): int(str(row["letters"])) for row in found}
        return {"words": len(found), "letters": sum(letters.values()), "longest": max(letters, key=letters.__getitem__)}

    gather(measure.expand(word=read_items()))
