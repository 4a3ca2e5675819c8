"""The DAGs for batch jobs: what their forms come to, as a shell would run it; and what their guide says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("airflow.providers.ssh")
from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - only where Airflow is installed
from airflow.sdk import DAG  # noqa: E402
from functions.checksums import differing, read_checksums  # noqa: E402
from windrose.hooks.slurm import SlurmHook  # noqa: E402
from windrose.slurm import intent, states  # noqa: E402
from windrose.slurm.result import RETRY_STATES  # noqa: E402

from tests.dags.check_support import ROOT  # noqa: E402

GUIDE = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")
# What a program of the cluster is replaced by: it says how it was called, and then does what it was asked to.
STAND_IN = """#!/bin/bash
printf '%s|' apptainer "$@" >&2
while [ $# -gt 2 ] && [ "$1" != sh ]; do shift; done
exec "$@"
"""


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """The DAGs of the folder by their ids."""
    return dict(DagBag(str(ROOT / "dags" / "hpc")).dags)


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that `make demo` would make."""
    facts = {"scheduler": "slurm", "account": "project_demo", "partition": "standard", "scratch": "/scratch"}
    known = {"conn_type": "ssh", "host": "slurm-demo", "login": "researcher", "extra": {"windrose": facts}}
    monkeypatch.setenv("AIRFLOW_CONN_HPC-DEMO", json.dumps(known))
    monkeypatch.setenv("AIRFLOW_VAR_WINDROSE_INSTALLATION", "mine")


def job_of(dag: DAG, task_id: str, **form: Any) -> Any:
    """Return the job that a run with this form would submit."""
    task: Any = dag.task_dict[task_id].prepare_for_execution()
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id="r", task_id=task_id, map_index=-1)
    context = {"params": {**dag.params.dump(), **form}, "ti": ti, "dag": dag}
    task.render_template_fields(context)
    known = intent.begin(task.platform, dag.dag_id, task_id, intent.Now(0, 0, 0))
    return task.job(context, known, SlurmHook(task.platform).platform)


def directives(script: str) -> set[str]:
    """Return the directives of a batch script."""
    return {line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")}


def run(job: Any, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a batch script as a compute node would, in this folder."""
    (folder / "script").write_text(job.payload)
    batch = folder / "job.sh"
    batch.write_text(job.script.replace("{folder}", str(folder)))
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(batch)],
        env={"PATH": path, "HOME": str(folder), "SLURM_JOB_ID": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_form_as_it_is_runs(dags: dict[str, DAG], tmp_path: Path) -> None:
    job = job_of(dags["hpc-run-one-job"], "run_job")

    done = run(job, tmp_path)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, '{"steps": 3}')
    assert {"--account=project_demo", "--partition=standard", "--time=00:10:00"} <= directives(job.script)
    assert job.origin == {
        "installation": "mine",
        "dag_id": "hpc-run-one-job",
        "run_id": "r",
        "task_id": "run_job",
        "map_index": -1,
    }


def test_form_says_all_that_a_job_asks_for(dags: dict[str, DAG]) -> None:
    form = {
        **{"account": "project_2", "partition": "gpu", "qos": "low", "nodes": 2, "tasks": 4, "cpus": 8},
        **{"memory": "16G", "gpus": "a100:2", "array": "0-3%2", "time": "1-00:00:00"},
    }

    asked = directives(job_of(dags["hpc-run-one-job"], "run_job", **form).script)

    assert {
        *("--account=project_2", "--partition=gpu", "--qos=low", "--nodes=2", "--ntasks=4", "--cpus-per-task=8"),
        *("--mem=16G", "--gpus=a100:2", "--array=0-3%2", "--time=1-00:00:00"),
    } <= asked


def test_container_is_run_by_apptainer_with_every_word_in_its_place(dags: dict[str, DAG], tmp_path: Path) -> None:
    (tmp_path / "apptainer").write_text(STAND_IN)
    (tmp_path / "apptainer").chmod(0o755)
    form = {
        "image": "/images/it's a $(touch trap).sif",
        "command": 'echo "in $(basename "$PWD")"\necho \'two; words\'',
        "binds": "/scratch/data:/data:ro /tmp",
        "options": "--cleanenv",
        "gpus": "1",
    }

    done = run(job_of(dags["hpc-container-job"], "run_in_container", **form), tmp_path)

    called = done.stderr.strip().removesuffix("|").split("|")
    assert (done.returncode, done.stdout) == (0, "in work\ntwo; words\n")
    binds = ["--bind", str(tmp_path), "--bind", "/scratch/data:/data:ro", "--bind", "/tmp"]
    assert called == [
        *("apptainer", "exec", "--cleanenv", "--nv", *binds, "--pwd", str(tmp_path / "work"), form["image"]),
        *("sh", "-c", form["command"]),
    ]
    assert list(tmp_path.rglob("trap")) == []


@pytest.mark.parametrize("rates", [[0.25], [0.5, 1.0, 1.5]])
def test_each_element_takes_its_value(dags: dict[str, DAG], tmp_path: Path, rates: list[float]) -> None:
    job = job_of(dags["hpc-array-sweep"], "measure", rates=rates)

    for element in range(len(rates)):
        words = {"SLURM_ARRAY_TASK_ID": str(element), "SLURM_ARRAY_JOB_ID": "1"}
        done = run(job, tmp_path, **words)
        assert done.returncode == 0, done.stderr

    assert f"--array=0-{len(rates) - 1}%4" in directives(job.script)
    written = [json.loads((tmp_path / "work" / f"result.{n}.json").read_text()) for n in range(len(rates))]
    assert [row["rate"] for row in written] == rates


def test_pipeline_counts_and_writes_checksums_that_fit(dags: dict[str, DAG], tmp_path: Path) -> None:
    inside = tmp_path / "work" / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "a b.txt").write_text("one two one\n")
    (inside / "deep" / "c.txt").write_text("three\n")

    task = dags["hpc-staged-pipeline"].task_dict["count_words"]
    script = task.script  # type: ignore[attr-defined]
    (tmp_path / "script").write_text(script)
    subprocess.run(["bash", str(tmp_path / "script")], cwd=tmp_path / "work", check=True, timeout=30)

    checksums = read_checksums((tmp_path / "work" / "out" / "checksums.txt").read_text())
    assert sorted(checksums) == ["in/a b.txt", "in/deep/c.txt", "out/a b.txt.counts", "out/deep_c.txt.counts"]
    assert differing(tmp_path / "work", checksums, below="") == []
    (inside / "a b.txt").write_text("changed\n")
    (tmp_path / "work" / "out" / "deep_c.txt.counts").unlink()
    assert differing(inside, checksums, below="in/") == ["in/a b.txt"]
    assert differing(tmp_path / "work" / "out", checksums, below="out/") == ["out/deep_c.txt.counts"]


def snippets() -> list[str]:
    """Return the DAG files that the guide shows."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", GUIDE, flags=re.MULTILINE)
    plain = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in blocks]
    return [block for block in plain if block.startswith(('"""', "from ", "import "))]


def test_every_dag_of_the_guide_can_be_read(tmp_path: Path) -> None:
    assert len(snippets()) >= 3
    for number, text in enumerate(snippets()):
        (tmp_path / f"snippet_{number}_dag.py").write_text(text)

    bag = DagBag(str(tmp_path))

    assert (bag.import_errors, len(bag.dags)) == ({}, len(snippets()))


def test_every_trigger_of_the_guide_starts_a_dag(dags: dict[str, DAG]) -> None:
    platform_dags = dict(DagBag(str(ROOT / "dags" / "platforms")).dags)
    shown = re.findall(r"make trigger DAG=([\w-]+)(?:.*CONF='(.*)')?", GUIDE)

    assert shown
    for dag_id, conf in shown:
        dag = {**dags, **platform_dags}[dag_id]
        assert set(json.loads(conf or "{}")) <= set(dag.params), dag_id


def test_guide_names_every_dag_and_who_may(dags: dict[str, DAG]) -> None:
    rows = re.findall(r"^\| `(hpc-[\w-]+)` \|.*\| ([^|]+) \|$", GUIDE, flags=re.MULTILINE)

    assert dict(rows) == {name: "Admin and Op" if dag.access_control else "everybody" for name, dag in dags.items()}


def test_guide_has_every_state_with_what_it_means() -> None:
    table = GUIDE.partition("## How a job ended")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z_]+)( \(not seen\))? \| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    does = {
        states.Kind.WAITING: "waits",
        states.Kind.RUNNING: "waits",
        states.Kind.WELL: "succeeds",
        states.Kind.BADLY: "fails",
    }

    assert [(word, not unseen, says) for word, unseen, says, _ in rows] == [
        (word, state.seen, state.says) for word, state in states.STATES.items()
    ]
    assert {word: does_what for word, _, _, does_what in rows} == {
        word: "submits it anew, if it has a try left" if word in RETRY_STATES else does[state.kind]
        for word, state in states.STATES.items()
    }
