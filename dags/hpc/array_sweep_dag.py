"""Tries many values of a parameter in one Slurm array job, and gathers the results into a table.

## What it does
`measure` submits one job whose elements each take one of the values, and writes what comes of it into a file of its
own. When all have ended well, the files are copied back, and `gather` puts them together. A thousand values are still
one job, one task, and one line in the queue.

## Needs
A platform with Slurm in `secrets.yaml`; `make demo` makes one, `hpc-demo`.

## Parameters
- `platform`: id of the platform, such as `hpc-lumi`.
- `rates`: the values to try, one element each.
- `at_once`: how many elements run at a time at most.

## Try it
`make trigger DAG=hpc-array-sweep CONF='{"rates": [0.1, 0.5, 1, 2], "at_once": 2}' WAIT=1`

## Result
`gather` returns a row a value, best first, and shows them as a table in its log. The files stay in `data/jobs/`.
"""

import json
from typing import Any

from airflow.sdk import DAG, Param, task
from functions.tables import format_table
from windrose.decorators import slurm_task

# Newton's method with a step of some size: what would be a training run or a simulation of yours.
SCRIPT = """\
#!/bin/bash
set -euo pipefail
read -r -a rates <<< "$RATES"
rate=${rates[$SLURM_ARRAY_TASK_ID]}
echo "element $SLURM_ARRAY_TASK_ID tries $rate on $(hostname)"
awk -v rate="$rate" 'BEGIN {
    x = 1
    for (steps = 0; steps < 1000 && (x * x - 2) ^ 2 > 1e-12; steps++) x -= rate * (x * x - 2) / (2 * x)
    printf "{\\"rate\\": %s, \\"steps\\": %d, \\"error\\": %.3g}\\n", rate, steps, (x * x - 2) ^ 2
}' > "result.$SLURM_ARRAY_TASK_ID.json"
"""

with DAG(
    dag_id="hpc-array-sweep",
    description="Tries many values of a parameter in one Slurm array job, and gathers the results into a table.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    params={
        "platform": Param(
            "hpc-demo",
            type="string",
            minLength=1,
            title="Platform",
            description="Id of a platform with Slurm, like hpc-lumi",
        ),
        "rates": Param(
            [0.25, 0.5, 0.75, 1.0, 1.25],
            type="array",
            items={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
            minItems=1,
            maxItems=1000,
            title="Rates",
            description="Values to try, between 0 and 2",
        ),
        "at_once": Param(
            4, type="integer", minimum=1, title="At once", description="How many elements run at a time at most"
        ),
    },
    tags=["hpc", "slurm", "array"],
):

    @slurm_task(
        platform="{{ params.platform }}",
        array="0-{{ params.rates | length - 1 }}%{{ params.at_once }}",
        time="00:05:00",
        environment={"RATES": "{{ params.rates | join(' ') }}"},
        outputs="result.*.json",
    )
    def measure() -> str:
        """Return what each element runs."""
        return SCRIPT

    @task
    def gather(job: dict[str, Any]) -> list[dict[str, float]]:
        """Read the files of all elements."""
        from windrose.data_folder import data_folder

        files = [data_folder() / row["file"].removeprefix("data/") for row in job["outputs"]]
        rows: list[dict[str, float]] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        rows.sort(key=lambda row: (row["steps"], row["rate"]))
        print(format_table(rows))
        return rows

    gather(measure())
