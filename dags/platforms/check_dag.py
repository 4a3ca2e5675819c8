"""Logs in to every platform once an hour, and fails while there is still time to renew a certificate.

## What it does
One task a platform of `secrets.yaml`, named after it, logs in as every task does and runs nothing but `true`. A
platform that cannot be used fails its task and the run, with a sentence that says why; so does a certificate that soon
ends. Without any platform the run is skipped.

## Needs
Platforms in `secrets.yaml`, registered by `make connections`. Types `ssh`, `sftp`, `postgres`, `s3`, `http`, `smtp` and
`kubernetes` are logged in to; others are skipped with a sentence.

## Parameters
- `platform`: check this one alone, such as `hpc-lumi`; empty: all.
- `hours_left`: fail when a certificate is good for fewer hours; empty: for less than a tenth of its life, at most a
  week.

## Try it
`make trigger DAG=platform-check WAIT=1`

The schedule is minute 7 of each hour. Pause the DAG in the web page if your site does not like to be asked so often.

## Result
`table` returns a row a platform: state, seconds, until when its certificate is good, and what is wrong.
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

    @task(trigger_rule="all_done")
    def table(platforms: list[dict[str, str]] | None) -> list[dict[str, Any]]:
        """Return a row a platform; fail where one of them did, so that the run shows it."""
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
        for row in rows:
            print(f"{row['platform']:<30} {row['state']:<9} {row['says']}")
        failed = [row for row in rows if row["state"] in ("failed", "expiring")]
        if failed:
            ti.xcom_push("return_value", rows)
            raise AirflowFailException(f"{len(failed)} of {len(rows)} need you. " + " ".join(r["says"] for r in failed))
        return rows

    platforms = list_platforms()
    log_in.expand(platform=platforms) >> table(platforms)
