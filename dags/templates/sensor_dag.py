"""Wait for a time or for a file without holding a task slot.

## What it does
`wait_for_time` waits so many seconds, then `deliver` writes a file into `data/`, as a colleague or another program
would. `wait_for_file` waits for that file meanwhile, `read` reads it and takes it away. Both sensors are *deferred*:
while they wait, one process looks after all of them, and no task slot is taken. A thousand may
wait at once.

## Needs
Nothing. Files are looked for in `data/` of this folder.

## Parameters
- **File**: its name in `data/`, no folder before it.
- **Deliver after**: seconds until the DAG writes the file itself; 0 leaves it to you.
- **Give up after**: seconds that `wait_for_file` waits. A wait without an end is found out too late.
- **Fail on purpose**: the file is never delivered, and waited for three seconds only.

## Try it
- `make trigger DAG=template-sensor WAIT=1`, or the button *Trigger* as the form is: green after some ten seconds.
- **Deliver after** `0`, then `echo hello > data/from-a-colleague.txt` on your machine while it waits.
- Switch on **Fail on purpose**: `wait_for_file` is red within half a minute (what has waited too long is looked for
  every 15 seconds), and its log says `AirflowSensorTimeout`. A sensor that gave up is not tried again.

## Result
The return value of `read`: the text of the file.
"""

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from windrose.data_folder import data_folder
from windrose.sensors.data_file import DataFileSensor

with DAG(
    dag_id="template-sensor",
    description="Wait for a time or for a file without holding a task slot.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["template", "waiting"],
    params={
        "file": Param(
            "from-a-colleague.txt",
            type="string",
            pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
            maxLength=100,
            title="File",
            description="The name of the file to wait for, in data/",
        ),
        "deliver_after": Param(
            5,
            type="integer",
            minimum=0,
            maximum=3600,
            title="Deliver after",
            description="Seconds until the DAG writes the file itself; 0: you put it there",
        ),
        "give_up_after": Param(
            120,
            type="integer",
            minimum=1,
            maximum=86400,
            title="Give up after",
            description="Seconds to wait for the file",
        ),
        "fail": Param(
            False, type="boolean", title="Fail on purpose", description="Never deliver the file, and give up soon"
        ),
    },
):
    wait_for_time = DateTimeSensorAsync(
        task_id="wait_for_time",
        target_time="{{ dag_run.run_after + macros.timedelta(seconds=params.deliver_after) }}",
    )

    @task
    def deliver() -> str:
        """Write the file, as somebody else would."""
        params = get_current_context()["params"]
        if params["fail"] or not params["deliver_after"]:
            raise AirflowSkipException("the file is not delivered: the form says so")
        path = data_folder() / params["file"]
        # Under another name first: who waits for the file must not see half of it.
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_text("hello from a colleague\n", encoding="utf-8")
        unfinished.replace(path)
        return path.name

    wait_for_file = DataFileSensor(
        task_id="wait_for_file",
        filepath="{{ params.file }}",
        seconds="{{ 3 if params.fail else params.give_up_after }}",
    )

    @task
    def read() -> str:
        """Read the file and take it away, so that the next run waits for a new one."""
        path = data_folder() / get_current_context()["params"]["file"]
        text = path.read_text(encoding="utf-8")
        path.unlink()
        print(text)
        return text.strip()

    wait_for_time >> deliver()
    wait_for_file >> read()
