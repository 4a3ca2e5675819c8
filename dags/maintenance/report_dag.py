"""Reports once a week how Airflow itself has been: what failed, was slow, was deleted, fills the disk.

## What it does
Reads the facts that the janitor writes down once an hour (tasks cannot reach the database), looks at the sizes of
`logs/` and `data/`, and puts a page together: what needs you first, then failed runs and tasks, the slowest DAGs, runs
under way for long, files of `dags/` that cannot be imported, what was deleted from the database, and the disk.

The janitor deletes runs that began more than `HISTORY_DAYS` ago (90, in `.env`) once a day, by `airflow db clean`. A
DAG with a run of that age that is still under way keeps all of its history.

## Needs
The janitor, which runs with the stack. It writes its first facts two minutes after the start.

## Parameters
- `rows`: how many rows each table shows.
- `fail_on_problems`: let the run fail when something needs you, so that whoever is told of failures is told of it.

## Try it
`make trigger DAG=maintenance-report WAIT=1`

The schedule is Monday, 6 o'clock UTC.

## Result
`report` returns the page as Markdown; its log shows it, too.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_current_context, task

with DAG(
    dag_id="maintenance-report",
    description="Reports once a week how Airflow itself has been: what failed, was slow, was deleted, fills the disk.",
    doc_md=__doc__,
    start_date=None,
    schedule=CronTriggerTimetable("0 6 * * 1", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    is_paused_upon_creation=False,
    params={
        "rows": Param(
            10, type="integer", minimum=1, maximum=50, title="Rows", description="How many rows each table shows"
        ),
        "fail_on_problems": Param(
            False, type="boolean", title="Fail on problems", description="Fail when something needs you"
        ),
    },
    tags=["maintenance", "schedule"],
):

    @task
    def report() -> str:
        """Put the page together."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowFailException
        from windrose import maintenance
        from windrose.data_folder import data_folder

        context = get_current_context()
        form, logs, now = context["params"], maintenance.logs_folder(), datetime.now(UTC)
        try:
            facts = maintenance.read_facts(logs / "janitor" / "report.json")
        except maintenance.NoFacts as error:
            raise AirflowFailException(str(error)) from None
        disks = [maintenance.look_at("logs/", logs), maintenance.look_at("data/", data_folder())]
        page = maintenance.page(facts, disks, now=now, rows=form["rows"])
        print(page)
        to_do = maintenance.problems(facts, disks, now=now)
        if to_do and form["fail_on_problems"]:
            context["ti"].xcom_push("return_value", page)
            raise AirflowFailException(" ".join(to_do))
        return page

    report()
