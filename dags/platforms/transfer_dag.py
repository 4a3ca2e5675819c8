"""Copies a file or a folder between the stack, platforms and S3, and goes on where it stopped.

## What it does
Copies what is not there yet: a file whose copy has its size and time is skipped. All of it streams through the task,
piece by piece. A file grows under a name of its own (`.name.xxxxxxxx.part`) and gets its real name when it is complete
and its SHA-256, computed on the way, is that of what arrived. When something breaks, the task tries again and goes on
behind the last byte; so does the next run. Links are left out, and nothing is ever deleted.

## Needs
Platforms of type `ssh`, `sftp` or `s3` in `secrets.yaml`; `data/` of the stack is always there. Checksums on an `ssh`
platform are computed there by `sha256sum`; a store checks each part itself; of an `sftp` platform sizes are compared.
For Admin and Op only: who may read and write the files of an account there may do everything with it.

## Parameters
- `source_platform`, `target_platform`: a platform's id; empty: `data/` of the stack.
- `source_path`: a file or a folder. On a platform, a relative path begins where a login arrives.
- `target_path`: where to. A file goes into a folder when the path ends with `/` or is one. A folder's content goes into
  the target. In S3 a path is `bucket/key`, or a key alone where the platform names a bucket.
- `streams`: how many files are copied at a time, each over connections of its own.
- `checksums`: let platforms compute checksums. It reads every copied file there once more.

## Try it
`make trigger DAG=platform-transfer CONF='{"source_path": "in", "target_platform": "hpc-lumi", "target_path": "in"}'`

## Result
`transfer` returns how many files were copied, resumed and skipped, how many bytes in how many seconds, and a row a
file.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from windrose.access import ADMIN_AND_OP

with DAG(
    dag_id="platform-transfer",
    description="Copies a file or a folder between the stack, platforms and S3, and goes on where it stopped.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    params={
        "source_platform": Param(
            "", type="string", title="Source: platform", description="Id of a platform; empty: data/ of the stack"
        ),
        "source_path": Param("", type="string", title="Source: path", description="A file or a folder"),
        "target_platform": Param(
            "", type="string", title="Target: platform", description="Id of a platform; empty: data/ of the stack"
        ),
        "target_path": Param(
            "", type="string", title="Target: path", description="A file or a folder; end a folder with a slash"
        ),
        "streams": Param(
            2, type="integer", minimum=1, maximum=16, title="Streams", description="How many files at a time"
        ),
        "checksums": Param(
            True, type="boolean", title="Checksums", description="Let platforms compute checksums of what arrived"
        ),
    },
    tags=["platform", "files", "ssh", "s3"],
):

    @task(retries=3, retry_delay=timedelta(seconds=10))
    def transfer() -> dict[str, Any]:
        """Copy, show a line a file, and fail where one of them could not be copied."""
        import time

        from airflow.sdk.exceptions import AirflowFailException
        from windrose import transfer as copying
        from windrose.transfer_places import place_of

        context = get_current_context()
        form = context["params"]
        begun = time.monotonic()
        try:
            if (form["source_platform"], form["source_path"]) == (form["target_platform"], form["target_path"]):
                raise copying.TransferError("source and target are the same; name two places.")
            source = place_of(form["source_platform"], checksums=form["checksums"])
            target = place_of(form["target_platform"], checksums=form["checksums"])
            job = copying.Job(copying.plan(source, form["source_path"], target, form["target_path"]))
        except copying.TransferError as error:
            raise AirflowFailException(str(error)) from None
        copying.copy_all(source, target, job, streams=form["streams"], tell=print)
        result = copying.result_of(job, time.monotonic() - begun)
        for row in result["rows"]:
            print(f"{row['state']:<8} {row['bytes']:>14} B {row['checked']:<14} {row['file']} {row['says']}")
        print({name: value for name, value in result.items() if name != "rows"})
        if result["failed"]:
            context["ti"].xcom_push("return_value", result)
            raise RuntimeError(f"{result['failed']} of {result['files']} files failed. {result['rows'][0]['says']}")
        return result

    transfer()
