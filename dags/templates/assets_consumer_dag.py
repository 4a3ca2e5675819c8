"""Start when data was written, whoever wrote it, instead of at a time of day.

## What it does
Its schedule is not a time but the asset `template-measurements`, which `template-assets-producer` updates. `use` reads
what the update says of itself. Updates that come while a run is being started are taken together.

## Needs
Somebody who updates the asset: `template-assets-producer`.

## Parameters
Filled in only by who triggers it by hand; a run that an update started has the defaults.

- **Fail on purpose**: `use` fails.

## Try it
- `make trigger DAG=template-assets-producer`, not this one: a run appears here within seconds.
- *Assets* in the menu, `template-measurements`, **Create Asset Event**: this also starts it, without any producer.
- `make trigger DAG=template-assets-consumer WAIT=1`: no update started it, so it takes the latest one there is.
- Switch on **Fail on purpose** as you trigger it by hand: red.

## Result
The log of `use` shows a table of the updates; its return value is `{"updates": 1, "rows": 5}`.
"""

from airflow.sdk import DAG, Asset, Param, get_current_context, task
from functions.tables import format_table

MEASUREMENTS = Asset("template-measurements")

with DAG(
    dag_id="template-assets-consumer",
    description="Start when data was written, whoever wrote it, instead of at a time of day.",
    doc_md=__doc__,
    start_date=None,
    schedule=[MEASUREMENTS],
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "assets"],
    params={
        "fail": Param(False, type="boolean", title="Fail on purpose", description="Let the task fail"),
    },
):

    @task(inlets=[MEASUREMENTS])
    def use() -> dict[str, int]:
        """Show the updates that started this run, else the latest one."""
        context = get_current_context()
        if context["params"]["fail"]:
            raise RuntimeError("the use of the data fails on purpose; trigger the DAG without `fail`.")
        started_by = context["triggering_asset_events"]
        events = list(started_by[MEASUREMENTS]) if MEASUREMENTS in started_by else []
        if not events:
            print("no update started this run; the latest one is taken")
            events = list(context["inlet_events"][MEASUREMENTS])[-1:]
        rows = [{"from": event.source_dag_id or "by hand", "rows": event.extra.get("rows", 0)} for event in events]
        print(format_table(rows))
        return {"updates": len(rows), "rows": sum(int(row["rows"]) for row in rows)}

    use()
