"""Runs the command of the form on a platform, and ends as it ends.

## What it does
Logs in with the platform's connection and runs the command in a login shell (`bash -l`), so that `module`, `sbatch` and
the like are on the path. What it says stands in the log line by line, marked `[remote]`. The task fails when the
command's exit code is not 0.

Whoever stops the task stops the command, with all it has started. The same happens when it takes too long, when the
machine of the task dies, and when the network between breaks: for what has to outlive that, submit a job.

## Needs
A platform of type `ssh` in `secrets.yaml`, and `bash` there. Only the roles Admin and Op see this DAG, because it runs
what its form says.

## Parameters
- `platform`: id of the platform, such as `hpc-lumi`.
- `command`: one or more lines for the shell there. Write no secret into it: the form is kept with the run.
- `minutes`: it is ended after so many minutes.
- `lines`: how many lines of its output the log takes at most.

## Try it
`make trigger DAG=platform-command CONF='{"platform": "hpc-lumi", "command": "hostname; df -h ."}' WAIT=1`

## Result
`run_command` returns the exit code, how many lines there were, and the last 50 of them.
"""

from airflow.sdk import DAG, Param
from windrose.access import ADMIN_AND_OP
from windrose.operators.platform import PlatformCommandOperator

with DAG(
    dag_id="platform-command",
    description="Runs the command of the form on a platform, and ends as it ends.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    access_control=ADMIN_AND_OP,
    render_template_as_native_obj=False,
    params={
        "platform": Param(
            "", type="string", title="Platform", description="Id of an ssh platform, for example hpc-lumi"
        ),
        "command": Param(
            "hostname", type="string", format="multiline", title="Command", description="What the shell there runs"
        ),
        "minutes": Param(
            60, type="number", exclusiveMinimum=0, title="Minutes", description="It is ended after so many minutes"
        ),
        "lines": Param(
            2000, type="integer", minimum=0, title="Lines", description="How many lines of its output the log takes"
        ),
    },
    tags=["platform", "ssh"],
):
    PlatformCommandOperator(
        task_id="run_command",
        platform="{{ params.platform }}",
        command="{{ params.command }}",
        minutes="{{ params.minutes }}",
        lines="{{ params.lines }}",
    )
