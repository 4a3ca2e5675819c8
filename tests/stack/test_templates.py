"""Every template green and, with `fail`, red, many at once; who is told, who is asked, who starts whom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from tests.engine_support import ENDED, Json, Stack, eventually, run
from tests.notify_support import Received, receiving
from tests.platform_support import PlatformFile

FAIL = {"fail": True}
# What is run, by a name of its own: the DAG's id without `template-`, and the form.
RUNS: dict[str, tuple[str, Json]] = {
    "approval": ("approval", {}),
    "approval rejected": ("approval", {}),
    "approval red": ("approval", FAIL),
    "deadline red": ("deadline", FAIL),
    "retries": ("retries", {}),
    "retries red": ("retries", FAIL),
    "retries slow": ("retries", {"failures": 0, "seconds": 7}),
    "sensor": ("sensor", {"file": "green.txt", "deliver_after": 3}),
    "sensor red": ("sensor", {"file": "red.txt", "deliver_after": 1, **FAIL}),
    "master": ("master", {"message": "from the test"}),
    "master without": ("master", {"condition_param": False}),
    "master red": ("master", FAIL),
    "producer": ("assets-producer", {"rows": 7}),
    "producer red": ("assets-producer", FAIL),
    "consumer red": ("assets-consumer", FAIL),
    "factory": ("factory", {}),
    "factory red": ("factory", FAIL),
    "branch": ("branch", {}),
    "branch in pieces": ("branch", {"rows": 25000}),
    "branch to nothing": ("branch", {"rows": 0}),
    "branch red": ("branch", FAIL),
    "fan-out": ("fan-out", {}),
    "fan-out red": ("fan-out", FAIL),
}
ANSWERS = {
    ("approval", "approve"): "Approve",
    ("approval", "choose_size"): "Full run",
    ("approval rejected", "approve"): "Reject",
}
GREEN = {
    "approval": ("report", {"samples": 1000, "way": "full_run"}),
    "deadline": ("work", {"seconds": 1}),
    "retries": ("work", {"tries": 2}),
    "sensor": ("read", "hello from a colleague"),
    "master": ("report", {"template-fan-out": "success", "template-branch": "success"}),
    "master without": ("report", {"template-fan-out": "success", "template-branch": "skipped"}),
    "producer": ("measure", {"rows": 7, "mean": 4.0}),
    "factory": ("report", {"sales": 240, "customers": 32}),
    "branch": ("summarise", {"way": "do_in_memory", "rows": 1000, "pieces": 1}),
    "branch in pieces": ("summarise", {"way": "do_in_pieces", "rows": 25000, "pieces": 3}),
    "branch to nothing": ("summarise", {"way": "do_nothing", "rows": 0, "pieces": 0}),
    "fan-out": ("gather", {"words": 3, "letters": 12, "longest": "green"}),
}
RED = {
    "approval red": ("approve", "HITLTimeoutError"),
    "deadline red": ("work", "the work fails on purpose after 15 s"),
    "retries red": ("work", "try 3 fails on purpose"),
    "retries slow": ("work", "AirflowTaskTimeout"),
    "sensor red": ("wait_for_file", "AirflowSensorTimeout"),
    "master red": ("run_fan_out", "template-fan-out failed; its run template-master__"),
    "producer red": ("measure", "the measurement fails on purpose"),
    "consumer red": ("use", "the use of the data fails on purpose"),
    "factory red": ("sales.2_total", "the step total fails on purpose"),
    "branch red": ("do_in_memory", "do_in_memory fails on purpose"),
    "fan-out red": ("measure", "the word blue fails on purpose"),
}
LONGEST = 300  # seconds
IN_TIME = 9  # seconds from the queue to the end: surely before a deadline of ten
AT_ONCE = 10  # runs: the machine has two cores, and whoever waits takes none


@dataclass
class Templates:
    """What was run on the stack, and what came of it."""

    stack: Stack
    paths: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)

    def id(self, name: str) -> str:
        """Return the id of a run."""
        return self.paths[name].rsplit("/", 1)[1]

    def start(self, name: str, dag: str, form: Json) -> None:
        """Start a run."""
        self.paths[name] = self.stack.trigger(f"template-{dag}", **form)

    def look(self, wanted: Iterable[str]) -> bool:
        """Note which runs have ended, answer those that ask, start the next; say whether all have ended."""
        for name in [name for name in self.paths if name not in self.ends]:
            state = self.stack.state(self.paths[name])
            if state in ENDED:
                self.ends[name] = state
        for (name, task), option in ANSWERS.items():
            if name in self.paths and name not in self.ends:
                self.answer(name, task, option)
        waiting = [name for name in wanted if name not in self.paths]
        for name in waiting[: AT_ONCE + len(self.ends) - len(self.paths)]:
            self.start(name, *RUNS[name])
        return not waiting and len(self.ends) == len(self.paths)

    def answer(self, name: str, task: str, option: str) -> None:
        """Answer a question, if it is asked by now, as a program would: at once."""
        if self.states(name)[task] == "awaiting_input":
            where = f"{self.paths[name]}/taskInstances/{task}/-1/hitlDetails"
            self.stack.api("PATCH", where, {"chosen_options": [option]})

    def states(self, name: str) -> dict[str, str]:
        """Return task id -> state; of a mapped task its last one."""
        return {task: str(known["state"]) for task, known in self.stack.tasks(self.paths[name]).items()}

    def seconds(self, name: str) -> float:
        """Return how long a run took, its time in the queue included."""
        known = self.stack.api("GET", self.paths[name])
        queued, ended = (datetime.fromisoformat(known[moment]) for moment in ("queued_at", "end_date"))
        return (ended - queued).total_seconds()

    def log(self, name: str, task: str) -> str:
        """Return the log of the last try of a task, of a mapped one the failed."""
        listed = self.stack.api("GET", f"{self.paths[name]}/taskInstances")["task_instances"]
        known = next(one for one in listed if one["task_id"] == task and one["state"] == "failed")
        where = f"{self.paths[name]}/taskInstances/{task}/logs/{known['try_number']}"
        answer = self.stack.api("GET", f"{where}?full_content=true&map_index={known['map_index']}")
        return str(answer["content"])


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    """A mail server and a webhook on this machine, as a container reaches it."""
    form = "--format={{(index .IPAM.Config 0).Gateway}}"
    with receiving(run("docker", "network", "inspect", form, "bridge").stdout.strip()) as received:
        yield received


@pytest.fixture(scope="module")
def told(stack: Stack, received: Received, platforms: PlatformFile) -> Iterator[Received]:
    """Both of them in secrets.yaml, and registered."""
    platforms.content = {
        "platforms": {
            "notify": {
                "webhook": {"type": "http", "address": f"http://{received.host}:{received.http_port}/hook"},
                "mail": {
                    **{"type": "smtp", "address": received.host, "port": received.smtp_port, "starttls": False},
                    **{"from_email": "windrose@example.org", "extra": {"to": ["team@example.org"]}},
                },
            }
        }
    }
    platforms.register()
    yield received
    for name in ("notify-mail", "notify-webhook"):
        stack.api("DELETE", f"connections/{name}")


@pytest.fixture(scope="module")
def templates(stack: Stack, told: Received) -> Templates:
    """Every template, run to its end, several at a time."""
    wanted = {f"template-{dag_id}" for dag_id, _ in RUNS.values()}
    eventually(lambda: wanted <= set(stack.dag_ids()), within=60)
    templates = Templates(stack)
    end = time.monotonic() + LONGEST
    while not templates.look(RUNS) and time.monotonic() < end:
        time.sleep(1)
    # Alone, because its ten seconds include the time in the queue; again where they were too few for this machine.
    for _ in range(3):
        templates.ends.pop("deadline", None)
        templates.start("deadline", "deadline", {})
        eventually(lambda: templates.look([]), within=120)
        if templates.seconds("deadline") < IN_TIME:
            break
    return templates


def test_each_ends_as_its_form_says(templates: Templates) -> None:
    expected = {name: "failed" if name in RED else "success" for name in templates.paths}

    wrong = {name: templates.states(name) for name in expected if templates.ends.get(name) != expected[name]}
    assert wrong == {}


@pytest.mark.parametrize("name", GREEN)
def test_green_one_returns_what_its_page_says(templates: Templates, name: str) -> None:
    task, value = GREEN[name]

    assert templates.stack.returned(templates.paths[name], task) == value


@pytest.mark.parametrize("name", RED)
def test_red_one_says_why_in_its_log(templates: Templates, name: str) -> None:
    task, words = RED[name]

    assert words in templates.log(name, task)


def test_branches_that_were_not_taken_are_skipped(templates: Templates) -> None:
    common = {"choose": "success", "do_nothing": "skipped", "do_in_pieces": "skipped", "clean_up": "success"}

    green = {"do_in_memory": "success", "summarise": "success", "raise_alarm": "skipped"}
    assert templates.states("branch") == {**common, **green}
    red = {"do_in_memory": "failed", "summarise": "upstream_failed", "raise_alarm": "success"}
    assert templates.states("branch red") == {**common, **red}


def test_rejected_plan_skips_the_rest_and_is_no_failure(templates: Templates) -> None:
    states = templates.states("approval rejected")

    skipped = {"choose_size", "trial_run", "full_run", "report"}
    assert {task for task, state in states.items() if state == "skipped"} == skipped


def runs_of(stack: Stack, dag_id: str) -> dict[str, Json]:
    """Return run id -> what Airflow knows of the run."""
    found = stack.api("GET", f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    return {one["dag_run_id"]: one for one in found}


def test_condition_decides_whether_the_other_dag_gets_a_run(templates: Templates) -> None:
    branches = runs_of(templates.stack, "template-branch")

    started = {name: f"template-master__{templates.id(name)}__run_branch" for name in ("master", "master without")}
    assert branches[started["master"]]["conf"] == {"message": "from the test"}
    assert started["master without"] not in branches
    assert templates.states("master without")["run_branch"] == "skipped"


def consumed(stack: Stack) -> dict[str, Any]:
    """Return producing run -> state of the run of the consumer that it started."""
    found = {}
    for run_id, known in runs_of(stack, "template-assets-consumer").items():
        if known["run_type"] == "asset_triggered":
            where = f"dags/template-assets-consumer/dagRuns/{run_id}/upstreamAssetEvents"
            events = stack.api("GET", where)["asset_events"]
            found |= {event["source_run_id"]: (known["state"], event["extra"]) for event in events}
    return found


def test_written_data_starts_the_consumer_and_a_failure_does_not(templates: Templates) -> None:
    producer = templates.id("producer")
    eventually(lambda: consumed(templates.stack).get(producer, [""])[0] in ENDED, within=30)

    found = consumed(templates.stack)

    assert found[producer] == ("success", {"rows": 7, "mean": 4.0})
    assert templates.id("producer red") not in found


def test_failure_is_told_for_the_task_and_for_the_dag_by_mail_and_webhook(templates: Templates, told: Received) -> None:
    expected = ["DAG template-retries failed", "task work of template-retries failed"]

    for name in ("retries red", "retries slow"):
        run_id = templates.id(name)
        eventually(lambda run_id=run_id: len(told.posts_of(run_id) + told.mails_of(run_id)) >= 4, within=30)
        assert (told.posts_of(run_id), told.mails_of(run_id)) == (expected, expected)
    assert told.posts_of(templates.id("retries")) == []
    assert told.recipients == {"team@example.org"}


def test_missed_deadline_is_told_and_a_kept_one_is_not(templates: Templates, told: Received) -> None:
    late = templates.id("deadline red")

    eventually(lambda: told.mails_of(late), within=30)
    expected = ["DAG template-deadline missed its deadline"]
    assert (told.posts_of(late), told.mails_of(late)) == (expected, expected)
    assert templates.seconds("deadline") < IN_TIME, "no run was quick enough to keep the deadline"
    assert told.posts_of(templates.id("deadline")) == []


def test_people_are_told_that_an_answer_is_wanted(templates: Templates, told: Received) -> None:
    run_id = templates.id("approval")

    assert set(told.posts_of(run_id)) == set(told.mails_of(run_id)) == {"Compute 1000 samples?"}


def test_sensor_waits_without_a_slot(templates: Templates) -> None:
    events = templates.log("sensor red", "wait_for_file")

    assert "Pausing task as DEFERRED" in events
