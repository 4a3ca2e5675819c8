"""The tutorial on a real stack: each sentence in the log of the task that prints it, nothing but that sentence."""

from __future__ import annotations

import ast
import json

import pytest

from tests.engine_support import Stack
from tests.platform_support import HOME, PlatformFile
from tests.ssh_support import USER, KeyMaker, Servers, public

HELLO = "user-example-com used test and said hello"
PARCELS = {1: "object to Allas", 2: "job to LUMI", 3: "Ray to CPouta"}
HOME_FOLDER = f"/srv/{USER}"


def printed(stack: Stack, run: str, task: str) -> list[str]:
    """Return what a task printed, and nothing else of its log."""
    lines = [json.loads(line) for line in stack.log(run, task).splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line.get("logger") == "task.stdout"]


def started_by_main(stack: Stack, n: int) -> str:
    """Return the path of the run of a sub DAG that another DAG started last."""
    known = stack.api("GET", f"dags/tutorial-sub-{n}/dagRuns?order_by=-run_after&limit=20")["dag_runs"]
    run = next(run for run in known if run["triggered_by"] == "operator")
    return f"dags/tutorial-sub-{n}/dagRuns/{run['dag_run_id']}"


@pytest.fixture(scope="module")
def runs(stack: Stack) -> dict[str, str]:
    """A run of each DAG that needs no machine, with what its form shows, all at once; ended."""
    named = ["main", "dependency", "dependency-classic", *(f"sub-{n}" for n in PARCELS)]
    begun = {name: stack.trigger(f"tutorial-{name}") for name in named}
    assert {name: stack.result(run) for name, run in begun.items()} == dict.fromkeys(named, "success")
    assert [stack.result(started_by_main(stack, n)) for n in PARCELS] == ["success"] * 3
    return begun


def test_main_and_its_three_print_just_four_sentences(stack: Stack, runs: dict[str, str]) -> None:
    found = {"main": printed(stack, runs["main"], "main_utilizer")}
    found |= {f"sub-{n}": printed(stack, started_by_main(stack, n), "sub_utilizer") for n in PARCELS}

    assert found == {
        "main": [f"{HELLO} to airflow"],
        **{f"sub-{n}": [f"{HELLO} to sub-{n} that had {parcel}"] for n, parcel in PARCELS.items()},
    }


def test_main_triggers_with_the_sentence_it_made(stack: Stack, runs: dict[str, str]) -> None:
    confs = {n: stack.api("GET", started_by_main(stack, n))["conf"] for n in PARCELS}

    assert {n: conf["message"] for n, conf in confs.items()} == dict.fromkeys(PARCELS, HELLO)
    assert {n: f"{conf['package']} to {conf['target']}" for n, conf in confs.items()} == PARCELS


@pytest.mark.parametrize("n", PARCELS)
def test_sub_dag_alone_prints_what_its_form_shows(stack: Stack, runs: dict[str, str], n: int) -> None:
    assert printed(stack, runs[f"sub-{n}"], "sub_utilizer") == [f"none to sub-{n} that had none to none"]


@pytest.mark.parametrize("name", ["dependency", "dependency-classic"])
def test_dependency_and_its_classic_twin_return_and_print_the_same(
    stack: Stack, runs: dict[str, str], name: str
) -> None:
    assert stack.returned(runs[name], "setup") == "user-example-com used test"
    assert stack.returned(runs[name], "preprocess") == HELLO
    assert printed(stack, runs[name], "utilizer") == [f"{HELLO} to airflow"]


@pytest.fixture
def machine(stack: Stack, platforms: PlatformFile, servers: Servers, keys: KeyMaker) -> None:
    """A machine that is the platform of the tutorial's form, with its host key pinned."""
    server = servers.start("ssh-cpouta", keys=(public(keys.make("cpouta")),))
    platforms.start_over()
    platforms.key("local-cloud", keys.make("cpouta"))
    platforms.server("cpouta-1", server, "local-cloud")
    platforms.content["platforms"]["cloud"] = platforms.content["platforms"].pop("hpc")
    platforms.register()


def test_interaction_logs_in_and_prints_what_it_saw(stack: Stack, machine: None) -> None:
    good = stack.trigger("tutorial-interaction", **{"remote-path": HOME_FOLDER})
    nowhere = stack.trigger("tutorial-interaction", **{"remote-path": "/no/such/folder"})

    assert (stack.result(good), stack.result(nowhere)) == ("success", "failed")
    [said] = printed(stack, good, "ssh_interaction")
    [names] = printed(stack, good, "sftp_interaction")
    assert ast.literal_eval(said) == [f"{HOME_FOLDER}\n", "results.csv\n"]
    assert ast.literal_eval(names) == HOME
    assert "No Host Key Verification" not in stack.log(good, "ssh_interaction")
    states = {task: one["state"] for task, one in stack.tasks(nowhere).items()}
    assert states == {"ssh_interaction": "success", "sftp_interaction": "failed"}
    assert "cloud-cpouta-1 has no folder /no/such/folder" in stack.log(nowhere, "sftp_interaction")
