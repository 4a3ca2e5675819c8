"""Is each DAG file sound? Each is read in a process of its own, as the DAG processor does it, with nothing to reach.

The request comes as JSON on stdin; the answer is one line of JSON: files with their DAGs, seconds and problems.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.in_airflow import dag_guard, dag_soundness

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 90  # seconds for one file; Airflow itself gives up after 30
Report = dict[str, Any]


def main() -> int:
    """Read the request, look at every file, and answer."""
    request = json.load(sys.stdin)
    # DAG files find what Airflow's own path has, not what this clone has.
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != ROOT]
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what DAG files print is not the answer
    os.dup2(1, 2)
    dags, plugins = request["dags"], request["plugins"]
    warm_up()
    reports = [in_child(path, partial(look_at, path, dags, [dags, plugins])) for path in dag_files(request)]
    add_duplicates(reports)
    os.write(answer, f"{json.dumps({'files': reports})}\n".encode())
    return 0


def warm_up() -> None:
    """Import what the DAG processor has at hand before it reads a file, so that the times are what it takes."""
    for name in ("dag_processing.dagbag", "sdk.execution_time.context", "serialization.serialized_objects"):
        import_module(f"airflow.{name}")
    for driver in dag_guard.DRIVERS:
        with suppress(ImportError):
            import_module(driver)


def dag_files(request: dict[str, Any]) -> list[str]:
    """Return the files that Airflow would read, but those in folders that are not shown."""
    from airflow.dag_processing.importers import get_importer_registry

    found = sorted(get_importer_registry().list_dag_files(request["dags"], safe_mode=True))
    hidden = [Path(request["dags"]) / name for name in request["hidden"]]
    return [path for path in found if not any(Path(path).is_relative_to(folder) for folder in hidden)]


def in_child(path: str, look: Callable[[], Report]) -> Report:
    """Do it in a process of its own; return what it found, or how that process ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(look(), pipe)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    said, is_over = read_all(reader, LONGEST)
    if not is_over:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    try:
        return dict(json.loads(said))
    except ValueError:
        end = f"signal {status & 127}" if status & 127 else f"code {status >> 8}"
        wrong = f"ended Python itself ({end}) while it was read" if is_over else f"is not read within {LONGEST} s"
        found = dag_soundness.problem(path, 0, wrong, "take out its lines one by one to see which does it")
        return {"file": path, "seconds": 0.0, "dags": {}, "problems": [found]}


def read_all(reader: int, seconds: float) -> tuple[bytes, bool]:
    """Read until the other end closes; say whether it did in time."""
    said, end = b"", time.monotonic() + seconds
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            piece = pipe.read(1 << 16)
            if not piece:
                return said, True
            said += piece
    return said, False


def look_at(path: str, dags: str, own: list[str]) -> Report:
    """Read one file with nothing to reach, then look at the DAGs in it."""
    from airflow.dag_processing.importers import get_importer_registry

    importer = get_importer_registry().get_importer(path)
    if importer is None:
        return {"file": path, "seconds": 0.0, "dags": {}, "problems": []}
    guard = dag_guard.Guard(own)
    edges = dag_soundness.record_edges(guard)
    guard.arm()
    start = time.perf_counter()
    result = importer.import_file(path, bundle_path=Path(dags), safe_mode=True)
    seconds = time.perf_counter() - start
    guard.armed = False
    problems = [dag_soundness.problem(where.file, where.line, deed, fix) for where, deed, fix in guard.found]
    if not guard.found:
        problems += [dag_soundness.import_problem(path, error, own) for error in result.errors]
    lines = dag_soundness.lines_of_dags(path)
    for dag in result.dags:
        problems += dag_soundness.problems_of(dag, path, lines.get(dag.dag_id, 0), edges)
    if not problems and not result.dags:
        problems += dag_soundness.forgotten_dags(path)
    ids = {dag.dag_id: lines.get(dag.dag_id, 0) for dag in result.dags}
    if len(ids) < len(result.dags):
        wrong = "two DAGs of the file have the same id, and Airflow keeps only one of them"
        problems.append(dag_soundness.problem(path, 0, wrong, "rename one of the two"))
    return {"file": path, "seconds": seconds, "dags": ids, "problems": problems}


def add_duplicates(reports: Sequence[Report]) -> None:
    """Name each DAG whose id another file has already."""
    first: dict[str, str] = {}
    for report in reports:
        for name, line in report["dags"].items():
            known = first.setdefault(name, report["file"])
            if known != report["file"]:
                wrong = f"the DAG {name} has the id of another one in {known}, and Airflow keeps only one of them"
                report["problems"].append(dag_soundness.problem(report["file"], line, wrong, "rename one of the two"))


if __name__ == "__main__":
    sys.exit(main())
