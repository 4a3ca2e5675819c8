"""The library's DAGs for batch jobs, and the sweep after lost jobs, on a real cluster."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from windrose.hooks.slurm import SlurmHook
from windrose.slurm import orphans
from windrose.slurm.model import Job, Submitted
from windrose.slurm.script import Work, render
from windrose.slurm.staging import WORK

from tests.engine_support import eventually
from tests.hpc.dag_run import RUN_ID
from tests.slurm_support import Cluster

ROOT = Path(__file__).resolve().parents[2]
FORMS: dict[str, dict[str, Any]] = {
    "array_sweep": {"rates": [0.5, 1.5, 1.0], "at_once": 2},
    "container_job": {"options": "--cleanenv", "command": "echo in the $0 of $(basename $PWD)"},
    "run_one_job": {
        "script": '#!/bin/bash\necho "$1 ${#1} $SLURM_CPUS_PER_TASK"\ncp in/words.txt out.txt\nexit 3\n',
        "arguments": "words",
        "cpus": 2,
        "inputs": "data/words.txt -> in/",
        "outputs": "out.txt",
    },
    "staged_pipeline": {"target": "data/results/"},
}


MINE = secrets.token_hex(8)
LISTED = [{"id": "hpc-demo", "type": "ssh", "scheduler": "slurm"}]
# What the sweep asks of Airflow, asked of the runs before.
ASKING = f'''
from airflow.sdk import DAG, get_current_context, task

with DAG(dag_id="asking", schedule=None):

    @task
    def ask() -> dict:
        ti, run = get_current_context()["ti"], "{RUN_ID}"
        def held(dag_id, task_id, index, run_id=run):
            return (ti.xcom_pull(task_id, dag_id, "slurm_job", map_indexes=index, run_id=run_id) or {{}}).get("token")
        return {{
            "states": ti.get_task_states("mine-rates", task_ids=["train"], run_ids=[run, "none"]),
            "nowhere": ti.get_task_states("no-such-dag", task_ids=["train"], run_ids=[run]),
            "tokens": [held("mine-rates", "train", index) for index in (0, 1, 2)],
            "token": held("mine-count", "count", -1),
            "other": held("mine-count", "count", -1, "none"),
        }}

    ask()
'''
GUIDE = ROOT / "docs" / "hpc.md"


def environment(home: Path, slurm: Cluster) -> dict[str, str]:
    """Return what an Airflow of its own needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW_CONN_HPC-DEMO": slurm.connection_json(),
        "AIRFLOW_VAR_WINDROSE_INSTALLATION": MINE,
        "AIRFLOW_VAR_WINDROSE_PLATFORMS": json.dumps(LISTED),
        "WINDROSE_EMBEDDED": str(home / "clone" / ".windrose" / "embedded"),
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("plugins", "dags")),
    }


@pytest.fixture(scope="module")
def lost(slurm: Cluster) -> str:
    """The id of a job whose run is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_HPC-DEMO", slurm.connection_json())
        return submit(SlurmHook("hpc-demo"), MINE, "deleted")[1]


@pytest.fixture(scope="module")
def home(slurm: Cluster, lost: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an Airflow is that has run each DAG once, and each of the guide's, and last the check of platforms."""
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(ROOT / "dags" / "hpc", home / "dags")
    asked = {f"{home}/dags/{name}_dag.py": form for name, form in FORMS.items()}
    for number, text in enumerate(snippets(GUIDE.read_text(encoding="utf-8"))):
        (home / "dags" / f"guide_{number}_dag.py").write_text(text)
        asked[f"{home}/dags/guide_{number}_dag.py"] = {}
    (home / "dags" / "asking_dag.py").write_text(ASKING)
    shutil.copy(ROOT / "dags" / "platforms" / "check_dag.py", home / "dags")
    asked |= {f"{home}/dags/asking_dag.py": {}, f"{home}/dags/check_dag.py": {"orphan_minutes": 0}}
    (home / "clone" / "data").mkdir(parents=True)
    (home / "clone" / "data" / "words.txt").write_text("be\nto\nbe\n")
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    runner = [sys.executable, str(ROOT / "tests" / "hpc" / "dag_run.py"), json.dumps(asked), str(home / "told.json")]
    with (home / "log").open("wb") as log:
        for argv in (migrate, runner):
            done = subprocess.run(
                argv, env=environment(home, slurm), stdout=log, stderr=subprocess.STDOUT, timeout=150, check=False
            )
            assert done.returncode == 0, (home / "log").read_text()[-5000:]
    return home


def snippets(guide: str) -> list[str]:
    """Return the DAG files that a guide shows."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", guide, flags=re.MULTILINE)
    plain = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in blocks]
    return [block for block in plain if block.startswith("from airflow")]


def told(home: Path, name: str) -> tuple[list[list[str]], dict[str, list[Any]]]:
    """Return the states of a run's tasks, and what they returned."""
    found = json.loads((home / "told.json").read_text())[f"{home}/dags/{name}_dag.py"]
    return found["states"], found["results"]


def test_array_gathers_a_row_a_value(home: Path) -> None:
    states, results = told(home, "array_sweep")

    assert states == [["gather", "success"], ["measure", "success"]]
    assert [row["rate"] for row in results["gather"][0]] == [1.0, 0.5, 1.5]
    assert results["measure"][0]["elements"] == {"COMPLETED": 3}


def test_container_runs_in_the_jobs_folder_and_the_stand_in_says_what_it_is(home: Path) -> None:
    states, results = told(home, "container_job")

    assert (states, results["run_in_container"][0]["result"]) == (
        [["run_in_container", "success"]],
        "in the sh of work",
    )
    assert "the demo cluster has no Apptainer" in (home / "log").read_text()


def test_job_that_fails_keeps_its_result_and_no_output_is_copied(home: Path, slurm: Cluster) -> None:
    states, results = told(home, "run_one_job")

    job = results["run_job"][0]
    assert states == [["run_job", "failed"]]
    assert (job["state"], job["exit_code"], job["result"]) == ("FAILED", 3, "words 5 2")
    assert slurm.exec("cat", f"{job['folder']}/{WORK}/out.txt") == "be\nto\nbe\n"
    assert not (home / "clone" / "data" / "jobs" / job["name"].rpartition(".")[2]).exists()


def test_pipeline_brings_results_back_and_compares_checksums(home: Path) -> None:
    states, results = told(home, "staged_pipeline")

    assert states == [[name, "success"] for name in ("check", "count_words", "prepare")]
    assert len(results["check"][0]) == 4
    counts = (home / "clone" / "data" / "results" / "2.txt.counts").read_text()
    assert counts.split() == ["1", "let", "1", "it", "1", "be"]
    assert "6 checksums of the job compared" in (home / "log").read_text()


def test_dags_of_the_guide_do_what_it_says(home: Path) -> None:
    (count, _), (rates, trained), (files, looked) = (told(home, f"guide_{number}") for number in range(3))

    data = home / "clone" / "data"
    assert (count, rates, files) == ([["count", "success"]], [["train", "success"]] * 2, [["look", "success"]])
    assert (data / "counts" / "counts.txt").read_text().split() == ["2", "be", "1", "to"]
    assert sorted(job["result"]["rate"] for job in trained["train"]) == [0.01, 0.1]
    assert sorted(path.name for path in (data / "parts").iterdir()) == ["aa", "ab", "ac"]
    assert [row["file"].rpartition("/")[2] for row in looked["look"][0]["outputs"]] == ["lines.txt", "aa", "ab", "ac"]


def test_tasks_are_told_states_and_jobs_of_other_dags_as_the_sweep_needs_them(home: Path) -> None:
    _, asked = told(home, "asking")
    (_, counted), (_, trained) = (told(home, f"guide_{number}") for number in range(2))

    answer, ended = asked["ask"][0], {"train_0": "success", "train_1": "success"}
    tokens = [job["name"].rpartition(".")[2] for job in (*counted["count"], *trained["train"])]
    assert (answer["states"], answer["nowhere"]) == ({RUN_ID: ended}, {})
    assert (answer["tokens"][2], answer["other"]) == (None, None)
    assert sorted([answer["token"], *answer["tokens"][:2]]) == sorted(tokens)
    assert answer["token"] == tokens[0]


def test_check_of_platforms_ends_a_job_whose_run_is_gone(home: Path, lost: str, slurm: Cluster) -> None:
    _, results = told(home, "check")

    login, job = results["table"][0]
    assert (login["state"], job["state"], job["type"]) == ("ok", "cancelled", "job")
    assert job["says"].startswith(f"job {lost} (RUNNING) of d.work, run deleted: its task is gone; cancelled.")
    assert slurm.ends_as(lost, within=30) == "CANCELLED"


class Airflow:
    """An Airflow in which no task waits any more but one."""

    def __init__(self, waiting: str) -> None:
        self.waiting = waiting

    def get_task_states(self, dag_id: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        return {"ended": {"work": "failed"}, "waiting": {"work": "deferred"}}

    def xcom_pull(self, task_ids: str, dag_id: str, key: str, *, map_indexes: int, run_id: str) -> Any:
        return {"token": self.waiting}


@pytest.fixture
def hook(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> SlurmHook:
    """What knows the cluster, in this process."""
    monkeypatch.setenv("AIRFLOW_CONN_HPC-DEMO", slurm.connection_json())
    return SlurmHook("hpc-demo")


def test_sweep_cancels_lost_jobs_of_this_installation_alone(slurm: Cluster, hook: SlurmHook) -> None:
    mine = secrets.token_hex(8)
    lost, kept, foreign = (submit(hook, *of) for of in ((mine, "ended"), (mine, "waiting"), ("another", "ended")))
    try:
        eventually(lambda: {slurm.state(job_id) for _, job_id in (lost, kept, foreign)} == {"RUNNING"}, within=30)

        airflow = Airflow(kept[0])
        young = orphans.sweep(hook.cluster, mine, airflow, youngest=300, cancel=True, tell=print)
        rows = orphans.sweep(hook.cluster, mine, airflow, youngest=0, cancel=True, tell=print)

        assert young == []
        assert [(row["job"], row["state"]) for row in rows] == [(lost[1], "cancelled")]
        assert slurm.ends_as(lost[1], within=30) == "CANCELLED"
        assert {slurm.state(job_id) for _, job_id in (kept, foreign)} == {"RUNNING"}
    finally:
        for token, job_id in (lost, kept, foreign):
            hook.cancel(token, job_id)


def submit(hook: SlurmHook, installation: str, run_id: str) -> tuple[str, str]:
    """Submit a long job for some task; return its token and id."""
    token = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(20))
    origin = {"installation": installation, "dag_id": "d", "run_id": run_id, "task_id": "work", "map_index": -1}
    name = f"wr.sweep.{token}"
    answer = hook.submit(
        Job(token, name, render(name, Work(command="sleep 300"), platform=hook.platform), origin=origin)
    )
    assert isinstance(answer, Submitted)
    return token, answer.job_id
