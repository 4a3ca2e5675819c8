"""What `make test-dags` says of DAGs that are broken in each usual way, and of those that are not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.dags.check_support import ROOT, check

HEAD = "from airflow.sdk import DAG, Param, Variable, dag, task\n"
EMPTY = "from airflow.providers.standard.operators.empty import EmptyOperator\n"
BASH = "from airflow.providers.standard.operators.bash import BashOperator\n"
DOCKER = "from airflow.providers.docker.operators.docker import DockerOperator\n"
IN_TASK = "do that inside a task: a DAG file is read again every few seconds"
# file -> its text, the line that is wrong, words of the problem, the mend
BROKEN = {
    "cycle": (
        HEAD
        + EMPTY
        + "with DAG('cycle', schedule=None):\n"
        + "".join(f"    t{n} = EmptyOperator(task_id='t{n}')\n" for n in (1, 2, 3))
        + "    t1 >> t2 >> t3\n    t3 >> t1\n",
        8,
        "the tasks t1 >> t2 >> t3 >> t1 wait for each other",
        "take out one of these arrows, such as t3 to t1",
    ),
    "missing_argument": (
        HEAD + BASH + "with DAG('missing', schedule=None):\n    BashOperator(task_id='t1')\n",
        4,
        "missing keyword argument 'bash_command'",
        "give the operator 'bash_command'",
    ),
    "unknown_argument": (
        HEAD
        + BASH
        + "with DAG('unknown', schedule=None):\n    BashOperator(task_id='t1', bash_command='w', to='me')\n",
        4,
        "to",
        "take that argument out, or correct its name",
    ),
    "syntax": (HEAD + "with DAG('syntax' schedule=None):\n    pass\n", 2, "SyntaxError", "mend that line"),
    "missing_package": (
        HEAD + "import no_such_package.inside\n",
        2,
        "No module named 'no_such_package'",
        "write the package that has it into packages.local.txt and run `make up`, or correct the name",
    ),
    "of_airflow_2": (
        HEAD + "from airflow.operators.no_such import Nothing\n",
        2,
        "No module named 'airflow.operators.no_such'",
        "import it from where Airflow 3 has it: DAG, task and Param from airflow.sdk, operators from airflow.providers",
    ),
    "undefined": (HEAD + "nowhere.run()\n", 2, "NameError", "define the name, import it, or correct it"),
    "same_task_twice": (
        HEAD + EMPTY + "with DAG('twice', schedule=None):\n" + "    EmptyOperator(task_id='t1')\n" * 2,
        5,
        "DuplicateTaskIdFound",
        "give each task of a DAG an id of its own",
    ),
    "network": (
        HEAD + "import requests\ntry:\n    requests.get('http://192.0.2.1/x')\nexcept Exception:\n    pass\n",
        4,
        "connects to 192.0.2.1:80 while it is read",
        IN_TASK,
    ),
    "address": (
        HEAD + "import socket\nsocket.getaddrinfo('data.example.org', 443)\n",
        3,
        "connects to data.example.org:443 while it is read",
        IN_TASK,
    ),
    "program": (
        HEAD + "import subprocess\nsubprocess.run(['curl', '--user=me:hush'])\n",
        3,
        "starts the program curl while it is read",
        IN_TASK,
    ),
    "shell": (HEAD + "import os\nos.system('ls -l')\n", 3, "starts the program ls while it is read", IN_TASK),
    "reading": (
        HEAD + "rows = open('/etc/hostname').read()\n",
        2,
        "looks at /etc/hostname while it is read",
        "do that inside a task, or keep the file beside the DAG in dags/",
    ),
    "writing": (
        HEAD + "open(__file__ + '.seen', 'w').close()\n",
        2,
        "writing_dag.py.seen while it is read",
        IN_TASK,
    ),
    "database": (
        HEAD + "import psycopg2\npsycopg2.connect('host=192.0.2.1')\n",
        3,
        "asks a database while it is read",
        IN_TASK,
    ),
    "variable": (
        HEAD + "project = Variable.get('project', default='none')\n",
        2,
        "asks Airflow for the variable project while it is read",
        "do that inside a task, or write {{ var.value.project }} into a templated argument",
    ),
    "connection": (
        HEAD + "from airflow.sdk import BaseHook\nBaseHook.get_connection('hpc-lumi')\n",
        3,
        "asks Airflow for the connection hpc-lumi while it is read",
        "do that inside a task, or give an operator the connection's id alone",
    ),
    "same_id": (
        HEAD + "with DAG('sound', schedule=None):\n    pass\n",
        2,
        "the DAG sound has the id of another one in",
        "rename one of the two",
    ),
    "forgotten": (
        HEAD + "@dag(schedule=None)\ndef forgotten():\n    pass\n",
        3,
        "nothing calls the function forgotten, so the file has no DAG",
        "write forgotten() below it",
    ),
    "default": (
        HEAD + "with DAG('default', schedule=None, params={'n': Param(3, type='string')}):\n    pass\n",
        2,
        "3 is not of type 'string'",
        "mend what it names",
    ),
    "not_storable": (
        HEAD
        + "from airflow.timetables.base import Timetable\nclass Mine(Timetable):\n    pass\n"
        + "with DAG('not-storable', schedule=Mine()):\n    pass\n",
        5,
        "Airflow cannot store the DAG not-storable",
        "move Mine into a plugin of yours that registers it: `timetables = [Mine]`",
    ),
    "unpickling": (
        HEAD
        + DOCKER
        + "with DAG('unpickling', schedule=None):\n    DockerOperator(task_id='t1', image='i', retrieve_output=True)\n",
        3,
        "the task t1 unpickles what its container wrote",
        "take out retrieve_output=True, and print the result as the last line",
    ),
    "ending": (HEAD + "import os\nos._exit(3)\n", 0, "ended Python itself (code 3)", "take out its lines one by one"),
}
# What is fine: time zones, files beside the DAG, helpers, printing.
SOUND = f"""{HEAD}
from pathlib import Path
from zoneinfo import ZoneInfo
import pendulum
from helper import word

print(Path(__file__).with_name("words.txt").read_text(), ZoneInfo("Europe/Helsinki"), word())
with DAG("sound", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Oslo")):
    @task
    def first():
        return open("/etc/hostname").read()

    @task.branch
    def second(name):
        return "third"

    @task
    def third():
        pass

    second(first()) >> third()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Report by name of the file, of a folder with one broken DAG of each kind and two sound ones."""
    folder = tmp_path_factory.mktemp("dags")
    for name, (text, *_) in BROKEN.items():
        (folder / f"{name}_dag.py").write_text(text)
    (folder / "a_sound_dag.py").write_text(SOUND)
    (folder / "helper.py").write_text("def word():\n    return 'nothing'\n")
    (folder / "words.txt").write_text("words")
    (folder / "hidden").mkdir()
    (folder / "hidden" / "hidden_dag.py").write_text(HEAD + "nowhere.run()\n")
    reports = check(folder, plugins=tmp_path_factory.mktemp("plugins"), hidden=("hidden",))
    return {Path(report["file"]).name.removesuffix("_dag.py"): report for report in reports}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_dag_is_told_with_line_and_mend(found: dict[str, dict], name: str) -> None:
    _, line, words, mend = BROKEN[name]

    [problem] = found[name]["problems"]

    assert (Path(problem["file"]).name, problem["line"]) == (f"{name}_dag.py", line)
    assert words in problem["problem"]
    assert problem["fix"].startswith(mend)


def test_sound_dag_has_no_problem(found: dict[str, dict]) -> None:
    assert (found["a_sound"]["problems"], list(found["a_sound"]["dags"])) == ([], ["sound"])


def test_secret_in_an_argument_is_not_repeated(found: dict[str, dict]) -> None:
    assert "hush" not in str(found["program"])


def test_what_is_refused_does_not_happen(found: dict[str, dict]) -> None:
    assert list(Path(found["writing"]["file"]).parent.glob("*.seen")) == []


def test_hidden_folder_and_helper_are_not_read(found: dict[str, dict]) -> None:
    assert sorted(found) == sorted([*BROKEN, "a_sound"])


@pytest.fixture
def mine(clone: Path) -> Path:
    """A clone with a folder of the user's own DAGs, and this checkout's Airflow."""
    (clone / ".venv-airflow").symlink_to(ROOT / ".venv-airflow")
    (clone / ".env").write_text("LIBRARY=none\n")
    (clone / "dags" / "mine").mkdir()
    return clone / "dags" / "mine"


def run_in(mine: Path) -> subprocess.CompletedProcess[str]:
    """Do what `make test-dags` does."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    argv = [".venv/bin/python", "-m", "scripts", "test_dags"]
    return subprocess.run(argv, cwd=mine.parents[1], env=kept, capture_output=True, text=True, timeout=120)


def test_command_tells_each_problem_in_a_line_and_the_times_below(mine: Path) -> None:
    (mine / "program_dag.py").write_text(BROKEN["program"][0])
    (mine / "fine_dag.py").write_text(HEAD + "with DAG('fine', schedule=None):\n    pass\n")

    done = run_in(mine)

    problem, empty, header, *rows, gap, summary = done.stdout.splitlines()
    assert problem == (
        "dags/mine/program_dag.py line 3: starts the program curl while it is read; "
        "do that inside a task: a DAG file is read again every few seconds."
    )
    assert (empty, header.split(), gap) == ("", ["FILE", "DAGS", "SECONDS"], "")
    times = {row.split()[0]: float(row.split()[2]) for row in rows}
    assert sorted(times) == ["dags/mine/fine_dag.py", "dags/mine/program_dag.py"]
    assert list(times.values()) == sorted(times.values(), reverse=True)
    assert summary.startswith("1 DAG in 2 files, read in ")
    assert (done.returncode, summary[-9:]) == (1, "1 problem")


def test_command_is_content_with_sound_dags(mine: Path) -> None:
    (mine / "fine_dag.py").write_text(HEAD + "with DAG('fine', schedule=None):\n    pass\n")

    done = run_in(mine)

    assert (done.returncode, done.stdout.splitlines()[-1][-10:]) == (0, "no problem")


def test_command_says_when_there_is_no_dag(mine: Path) -> None:
    done = run_in(mine)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "there is no DAG file below dags/ that LIBRARY shows")
