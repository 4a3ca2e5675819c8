"""Logs in to every platform once an hour, and fails while there is still time to renew a certificate.

## What it does
One task a platform of `secrets.yaml`, named after it, logs in as every task does and runs nothing but `true`. A
platform that cannot be used fails its task and the run, with a sentence that says why; so does a certificate that soon
ends. Without any platform the run is skipped.

One task a platform with `scheduler: slurm`, or of type `firecrest`, looks through its queue for jobs that Windrose has
submitted and no task waits for any more: its task has ended, was deleted, or has another job, while nobody could cancel
this one. It looks again a minute later, and cancels what is still there. Jobs of other people and of other
installations, and new ones, are left alone.

## Needs
Platforms in `secrets.yaml`, registered by `make connections`. Types `ssh`, `sftp`, `postgres`, `s3`, `http`, `smtp`,
`firecrest` and `kubernetes` are logged in to; others are skipped with a sentence.

## Parameters
- `platform`: check this one alone, such as `hpc-lumi`; empty: all.
- `hours_left`: fail when a certificate is good for fewer hours; empty: for less than a tenth of its life, at most a
  week.
- `orphans`: `cancel` jobs without a task, or only `report` them.
- `orphan_minutes`: jobs that were submitted less than so many minutes ago are left alone.

## Try it
`make trigger DAG=platform-check WAIT=1`

The schedule is minute 7 of each hour. Pause the DAG in the web page if your site does not like to be asked so often.

## Result
`table` returns a row a platform: state, seconds, until when its certificate is good, and what is wrong; then a row a
job without a task, and what became of it.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_current_context, task

with DAG(
    dag_id="platform-check",
    description="Logs in to every platform once an hour, and fails while there is still time to renew a certificate.",
    doc_md=__doc__,
    start_date=None,
    schedule=CronTriggerTimetable("7 * * * *", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params={
        "platform": Param("", type="string", title="Platform", description="Check this one alone; empty: all"),
        "hours_left": Param(
            None,
            type=["null", "number"],
            minimum=0,
            title="Hours left",
            description="Fail when a certificate is good for fewer hours; empty: a tenth of its life, at most a week",
        ),
        "orphans": Param(
            "cancel",
            type="string",
            enum=["cancel", "report"],
            title="Jobs without a task",
            description="What becomes of batch jobs of ours that no task waits for",
        ),
        "orphan_minutes": Param(
            5,
            type="number",
            minimum=0,
            title="Minutes",
            description="Jobs that were submitted less than so many minutes ago are left alone",
        ),
    },
    tags=["platform", "ssh", "schedule"],
):

    @task
    def list_platforms() -> list[dict[str, str]]:
        """Return the platforms to log in to; without any there is nothing to do."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
        from windrose.platform_list import choose, registered_platforms

        try:
            found = choose(registered_platforms(), get_current_context()["params"]["platform"])
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        if not found:
            raise AirflowSkipException("no platform is registered: describe one in secrets.yaml, `make connections`.")
        return found

    @task(map_index_template="{{ platform_id }}", execution_timeout=timedelta(minutes=3), max_active_tis_per_dagrun=8)
    def log_in(platform: dict[str, str]) -> None:
        """Log in to one platform; fail with a sentence."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
        from windrose.platform_logins import check

        context = get_current_context()
        context["platform_id"] = platform["id"]
        checked = check(platform, hours=context["params"]["hours_left"])
        context["ti"].xcom_push("row", checked.row())
        print(f"{platform['id']}: {checked.state}, {checked.seconds} s", checked.certificate_until)
        if checked.state == "skipped":
            raise AirflowSkipException(checked.says)
        if checked.state != "ok":
            raise AirflowFailException(checked.says)

    @task
    def list_clusters(platforms: list[dict[str, str]]) -> list[str]:
        """Return the platforms with a queue to look through."""
        return [platform["id"] for platform in platforms if platform.get("scheduler") == "slurm"]

    @task(map_index_template="{{ platform_id }}", execution_timeout=timedelta(minutes=10), max_active_tis_per_dagrun=4)
    def find_orphans(platform: str) -> None:
        """Cancel or report jobs of ours that no task waits for; fail where the queue cannot be looked through."""
        from airflow.sdk import Variable
        from airflow.sdk.exceptions import AirflowFailException
        from windrose.hooks.slurm import SlurmHook
        from windrose.slurm import orphans
        from windrose.slurm.model import ClusterError

        context = get_current_context()
        context["platform_id"] = platform
        try:
            rows = orphans.sweep(
                SlurmHook(platform).cluster,
                Variable.get(orphans.INSTALLATION, default=""),
                context["ti"],
                youngest=context["params"]["orphan_minutes"] * 60,
                cancel=context["params"]["orphans"] == "cancel",
                tell=print,
            )
        except ClusterError as error:
            raise AirflowFailException(f"{platform}: its queue could not be looked through. {error}") from None
        context["ti"].xcom_push("rows", [{"platform": platform, "type": "job", **row} for row in rows])
        for row in rows:
            print(row["says"])

    @task(trigger_rule="all_done")
    def table(platforms: list[dict[str, str]] | None, clusters: list[str] | None) -> list[dict[str, Any]]:
        """Return a row a platform and job; fail where one of them needs somebody, so that the run shows it."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        context = get_current_context()
        ti, run_id = context["ti"], context["run_id"]
        if not platforms:
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=["list_platforms"], run_ids=[run_id])
            if states[run_id]["list_platforms"] == "skipped":
                raise AirflowSkipException("there was no platform to log in to.")
            raise AirflowFailException("list_platforms failed; its log says why.")
        found = ti.xcom_pull(task_ids="log_in", key="row", map_indexes=list(range(len(platforms))))
        rows = [
            row or {"platform": platform["id"], "type": platform["type"], "state": "failed", "says": "see its log"}
            for platform, row in zip(platforms, found, strict=True)
        ]
        reached = {row["platform"] for row in rows if row["state"] in ("ok", "expiring")}
        queues = ti.xcom_pull(task_ids="find_orphans", key="rows", map_indexes=list(range(len(clusters or []))))
        for name, jobs in zip(clusters or [], queues, strict=True):
            # Where nobody gets in, the login's row says so.
            unknown = {"platform": name, "type": "queue", "state": "failed", "says": f"{name}: its queue; see the log."}
            rows += jobs if jobs is not None else [unknown] * (name in reached)
        for row in rows:
            print(f"{row['platform']:<30} {row['state']:<9} {row['says']}")
        failed = [row for row in rows if row["state"] in ("failed", "expiring")]
        if failed:
            ti.xcom_push("return_value", rows)
            raise AirflowFailException(f"{len(failed)} of {len(rows)} need you. " + " ".join(r["says"] for r in failed))
        return rows

    platforms = list_platforms()
    clusters = list_clusters(platforms)
    [log_in.expand(platform=platforms), find_orphans.expand(platform=clusters)] >> table(platforms, clusters)
