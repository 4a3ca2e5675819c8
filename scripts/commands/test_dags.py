"""`make test-dags`: read every DAG as Airflow would, with nothing to reach, and say what is to be changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scripts import airflow_venv, embedded_start, process, settings
from scripts.console import progress, say, table
from scripts.errors import CommandFailed, ExitCode, KitError
from scripts.settings import ROOT, STATE, Settings, environment

CHECK = "scripts.in_airflow.check_dags"
HOME = STATE / "test-dags"


def run() -> int:
    """Let Airflow's own Python look at the files; print a line a problem, then how long each file took."""
    chosen = settings.load()
    python = airflow_python()
    progress("reading the files below dags/")
    files = ask(python, chosen)
    problems = [shown(found) for report in files for found in report["problems"]]
    for line in problems:
        say(line)
    if problems:
        say()
    if not files:
        say("there is no DAG file below dags/ that LIBRARY shows")
        return ExitCode.NOTHING
    table(["FILE", "DAGS", "SECONDS"], rows(files))
    say()
    say(summary(files, len(problems)))
    return ExitCode.PROBLEM if problems else ExitCode.DONE


def airflow_python() -> str:
    """Return the Python that has Airflow; it is not made anew under a stack that runs on it."""
    if not airflow_venv.is_ready() and embedded_start.current() is not None:
        raise KitError("packages", "have changed since this Airflow was started", "run `make up`, then this again")
    return str(airflow_venv.ensure_airflow_venv())


def ask(python: str, chosen: Settings) -> list[dict[str, Any]]:
    """Return what was found of each file: file, seconds, dags, problems."""
    HOME.mkdir(parents=True, exist_ok=True)
    request = {"dags": str(ROOT / "dags"), "plugins": str(ROOT / "plugins"), "hidden": chosen.hidden_folders}
    argv = [python, "-W", "ignore", "-m", CHECK]
    own = airflow_environment(chosen)
    done = process.run(argv, stdin=json.dumps(request), environment=own, folder=ROOT, check=False)
    if done.code != 0 or not done.stdout.strip():
        raise CommandFailed(["check_dags"], done.code, done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().rpartition("\n")[2])["files"]
    return found


def airflow_environment(chosen: Settings) -> dict[str, str]:
    """Return the environment of an Airflow that has this folder's DAGs and plugins, and no database."""
    own = {name: value for name, value in environment().items() if not name.startswith("AIRFLOW")}
    options = {
        **chosen.airflow_options,
        "core.dags_folder": str(ROOT / "dags"),
        "core.plugins_folder": str(ROOT / "plugins"),
        "core.load_examples": "False",
        # All of it: the user's own line may be far up.
        "core.dagbag_import_error_traceback_depth": "100",
    }
    named = {"AIRFLOW__" + "__".join(name.split(".", 1)).upper(): value for name, value in options.items()}
    path = f"{ROOT / 'dags'}:{ROOT / 'plugins'}"
    return {**own, **named, "AIRFLOW_HOME": str(HOME), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def shown(found: dict[str, Any]) -> str:
    """Return one problem as a line."""
    where = f"{short(found['file'])} line {found['line']}" if found["line"] else short(found["file"])
    return short(str(KitError(where, found["problem"], found["fix"])))


def short(text: str) -> str:
    """Return text with the files of this folder as a person in it writes them."""
    return text.replace(f"{ROOT}/", "")


def rows(files: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row a file, the slowest first."""
    slowest_first = sorted(files, key=lambda report: -float(report["seconds"]))
    return [[short(one["file"]), str(len(one["dags"])), f"{one['seconds']:.2f}"] for one in slowest_first]


def summary(files: Sequence[dict[str, Any]], problems: int) -> str:
    """Return the last line."""
    seconds = sum(float(one["seconds"]) for one in files)
    dags = count(sum(len(one["dags"]) for one in files), "DAG")
    found = count(problems, "problem") if problems else "no problem"
    return f"{dags} in {count(len(files), 'file')}, read in {seconds:.1f} s: {found}"


def count(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
