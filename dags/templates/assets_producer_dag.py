"""Write data and say so, so that every DAG that waits for it starts by itself.

## What it does
`measure` writes a table into `data/` and updates the asset `template-measurements`. An asset is a name for data; this
DAG does not know who uses it. `template-assets-consumer` does, and starts as soon as `measure` has succeeded.

## Needs
`template-assets-consumer` switched on, if you want to see it start.

## Parameters
- **Rows**: how many rows are measured.
- **Fail on purpose**: `measure` fails. The asset is not updated, and nobody starts.

## Try it
- `make trigger DAG=template-assets-producer`, or the button *Trigger*; then open `template-assets-consumer`: a run
  has begun, and nobody triggered it.
- *Assets* in the menu shows the asset, who writes it, who reads it, and each update.
- Switch on **Fail on purpose**: the run is red, and the consumer has no new run.

## Result
The file `data/template-measurements.csv`, and an update of the asset that carries `{"rows": 5, "mean": 3.0}`.
"""

from airflow.sdk import DAG, Asset, Param, get_current_context, task
from windrose.data_folder import data_folder

# The consumer's file says the same name: that is all that connects the two.
MEASUREMENTS = Asset("template-measurements")

with DAG(
    dag_id="template-assets-producer",
    description="Write data and say so, so that every DAG that waits for it starts by itself.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "assets"],
    params={
        "rows": Param(
            5, type="integer", minimum=1, maximum=1000, title="Rows", description="How many rows are measured"
        ),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Let the task fail before it has written"
        ),
    },
):

    @task(outlets=[MEASUREMENTS])
    def measure() -> dict[str, float]:
        """Write the table; the asset counts as updated when this task succeeds."""
        context = get_current_context()
        params = context["params"]
        if params["fail"]:
            raise RuntimeError("the measurement fails on purpose; trigger the DAG without `fail`.")
        values = list(range(1, params["rows"] + 1))
        path = data_folder() / "template-measurements.csv"
        path.write_text("".join(f"{value}\n" for value in ["value", *values]), encoding="utf-8")
        facts = {"rows": len(values), "mean": sum(values) / len(values)}
        # What an update carries is for small facts; the data itself stays where it is.
        context["outlet_events"][MEASUREMENTS].extra = dict(facts)
        print(f"wrote {path.name}: {facts}")
        return facts

    measure()
