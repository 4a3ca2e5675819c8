"""Takes files from data/ or S3 to a cluster, works on them there, and brings the results back, checked on both ways.

## What it does
`prepare` makes three small files in `data/` where the form names none. `count_words` copies the files into the job's
folder on the platform's scratch, runs the job, and copies what it made to the target. `check` compares what lies in
`data/` with the checksums that the job computed on its compute node; an S3 store compares each part by itself, and
sizes are compared always. A copy that breaks is gone on with, and a file that is there already is not copied again.

## Needs
A platform with Slurm in `secrets.yaml` (`make demo` makes one, `hpc-demo`); for S3 a platform of type `s3`. For Admin
and Op only: who may name any address may read whatever the accounts in `secrets.yaml` may.

## Parameters
- `platform`: id of the platform, such as `hpc-lumi`.
- `source`: address of the files: `data/in/*.txt`, or `allas:bucket/in/`; empty: three small files are made.
- `target`: address of a folder for the results, such as `data/out/` or `allas:bucket/out/`; empty: a new one below
  `data/hpc/`.

## Try it
`make trigger DAG=hpc-staged-pipeline WAIT=1`

## Result
`check` returns a row a result: where it is, its size, and how it was compared.
"""

from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from functions.checksums import differing, read_checksums
from functions.tables import format_table
from windrose.access import ADMIN_AND_OP
from windrose.operators.slurm import SlurmOperator

# Checksums are work: the compute node computes them, not the login node.
SCRIPT = """\
#!/bin/bash
set -euo pipefail
mkdir -p out
find in -type f -print0 | while IFS= read -r -d '' file; do
    name=${file#in/}
    tr -cs '[:alnum:]' '\\n' < "$file" | sort | uniq -c | sort -rn > "out/${name//\\//_}.counts"
done
find in out -type f ! -name checksums.txt -print0 | sort -z | xargs -0 sha256sum > out/checksums.txt
cat out/checksums.txt
"""

with DAG(
    dag_id="hpc-staged-pipeline",
    description=(
        "Takes files from data/ or S3 to a cluster, works on them there, and brings the results back, checked on both"
        " ways."
    ),
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    params={
        "platform": Param(
            "hpc-demo",
            type="string",
            minLength=1,
            title="Platform",
            description="Id of a platform with Slurm, like hpc-lumi",
        ),
        "source": Param(
            "",
            type="string",
            title="Source",
            description="Address of the files, like data/in/*.txt or allas:bucket/in/; empty: three small files",
        ),
        "target": Param(
            "",
            type="string",
            pattern="^$|/$",
            title="Target",
            description="Address of a folder, with a slash at its end; empty: a new one below data/hpc/",
        ),
    },
    tags=["hpc", "slurm", "files", "s3"],
):

    @task
    def prepare() -> dict[str, str]:
        """Return the addresses of the inputs and the results; where the form names no input, make some."""
        from windrose.data_folder import data_folder

        context = get_current_context()
        form, folder = context["params"], f"hpc/{context['run_id'].replace(':', '-')}"
        target = form["target"] or f"data/{folder}/out/"
        if form["source"]:
            return {"source": form["source"], "target": target}
        place = data_folder() / folder / "in"
        place.mkdir(parents=True, exist_ok=True)
        for number, words in enumerate(("to be or not to be", "let it be", "be that as it may"), start=1):
            (place / f"{number}.txt").write_text(f"{words}\n", encoding="utf-8")
        return {"source": f"data/{folder}/in/", "target": target}

    count_words = SlurmOperator(
        task_id="count_words",
        platform="{{ params.platform }}",
        script=SCRIPT,
        time="00:05:00",
        inputs=[["{{ ti.xcom_pull('prepare')['source'] }}", "in/"]],
        outputs=[["out/*", "{{ ti.xcom_pull('prepare')['target'] }}"]],
    )

    @task
    def check(addresses: dict[str, str], job: dict[str, Any]) -> list[dict[str, Any]]:
        """Compare what lies in data/ with what the job saw; fail where something differs."""
        from airflow.sdk.exceptions import AirflowFailException
        from windrose.data_folder import data_folder

        rows = [{name: row[name] for name in ("file", "bytes", "state", "checked")} for row in job["outputs"]]
        print(format_table(rows))
        target, source = (addresses[name].removeprefix("data/") for name in ("target", "source"))
        if ":" in target:
            print("the results are in a store, which has compared each part as it came")
            return rows
        checksums = read_checksums((data_folder() / target / "checksums.txt").read_text(encoding="utf-8"))
        wrong = differing(data_folder() / target, checksums, below="out/")
        # A glob or another place has names that only the copy knows.
        if source.endswith("/") and ":" not in source:
            wrong += differing(data_folder() / source, checksums, below="in/")
        if wrong:
            raise AirflowFailException(f"{', '.join(wrong)}: not what the job saw; clear count_words to do it again.")
        print(f"{len(checksums)} checksums of the job compared")
        return rows

    made = prepare()
    made >> count_words
    check(made, count_words.output)
