"""What is wrong with a DAG that could be read, or with a file that could not, and what is to be changed?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scripts.in_airflow.dag_guard import Guard, own_line

if TYPE_CHECKING:
    from airflow.dag_processing.importers.base import DagImportError
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.mixins import DependencyMixin
    from airflow.sdk.definitions._internal.node import DAGNode
    from airflow.sdk.definitions.edges import EdgeModifier

Problem = dict[str, Any]
Edges = dict[tuple[str, str], int]  # (upstream, downstream) -> line of the user's own code

# The beginning of what an error says -> what to change. The first that fits wins; `{0}` is what the pattern caught.
MENDS = (
    (r"(?:SyntaxError|IndentationError|TabError): ", "mend that line"),
    (
        r"ModuleNotFoundError: No module named '(airflow[^']*)'",
        "import it from where Airflow 3 has it: DAG, task and Param from airflow.sdk, operators from airflow.providers",
    ),
    (
        r"ModuleNotFoundError: No module named '([^'.]+)",
        "write the package that has it into packages.local.txt and run `make up`, or correct the name",
    ),
    (r"ImportError: ", "correct the name, or import it from where the installed version has it"),
    (r"TypeError: missing keyword arguments? (.+)", "give the operator {0}"),
    (r"TypeError: .*missing \d+ required .*arguments?: (.+)", "give it {0}"),
    (
        r"TypeError: .*(?:[Ii]nvalid arguments|unexpected keyword argument)",
        "take that argument out, or correct its name",
    ),
    (r"\S*DuplicateTaskIdFound: ", "give each task of a DAG an id of its own"),
    (r"\S*AirflowTaskTimeout: ", "move the slow lines into a task: a DAG file is read again every few seconds"),
    (r"NameError: ", "define the name, import it, or correct it"),
    (r"\S*ParamValidationError: ", "give the parameter a default that fits its own type"),
)


def problem(file: str, line: int, wrong: str, fix: str) -> Problem:
    """Return one problem; line 0 is a file as a whole."""
    return {"file": file, "line": line, "problem": wrong, "fix": fix}


def import_problem(path: str, error: DagImportError, own: list[str]) -> Problem:
    """Say why a file could not be read, at the user's own line that led there."""
    trace = error.stacktrace or error.message
    wrong = last_words(trace)
    file, line = own_line(trace, own) or (path, 0)
    for pattern, fix in MENDS:
        match = re.match(pattern, wrong)
        if match:
            return problem(file, line, wrong[:300], fix.format(*match.groups()))
    return problem(file, line, wrong[:300], "mend that line")


def last_words(trace: str) -> str:
    """Return the error itself as one line: what comes below the last place that a trace names."""
    below = re.split(r'^  File ".*\n', trace, flags=re.MULTILINE)[-1].splitlines()
    begin = next((number for number, line in enumerate(below) if line[:1].strip()), 0)
    return " ".join(" ".join(below[begin:]).split()) or "it cannot be read"


def record_edges(guard: Guard) -> Edges:
    """Remember from now on at which line one task was put after another."""
    from airflow.sdk.definitions._internal.node import DAGNode

    edges: Edges = {}
    original = DAGNode._set_relatives

    def recording(
        self: DAGNode,
        others: DependencyMixin | Sequence[DependencyMixin],
        upstream: bool = False,
        edge_modifier: EdgeModifier | None = None,
    ) -> None:
        original(self, others, upstream, edge_modifier)
        place = guard.place()
        for other in others if isinstance(others, Sequence) else [others]:
            for task in other.leaves if upstream else other.roots:
                name = cast("DAGNode", task).node_id
                edge = (name, self.node_id) if upstream else (self.node_id, name)
                edges.setdefault(edge, place.line if place else 0)

    DAGNode._set_relatives = recording  # type: ignore[assignment, method-assign]
    return edges


def lines_of_dags(path: str) -> dict[str, int]:
    """Return the line at which each DAG of a file begins, as far as its id is written there."""
    lines: dict[str, int] = {}
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.Call) and called_name(node) in ("DAG", "dag"):
            given = [word.value for word in node.keywords if word.arg == "dag_id"] + node.args[:1]
            for value in given:
                if isinstance(value, ast.Constant):
                    lines.setdefault(str(value.value), node.lineno)
    return lines


def syntax_of(path: str) -> ast.AST:
    """Return the syntax of a file, of an empty one where it has none."""
    try:
        return ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ast.parse("")


def called_name(node: ast.AST) -> str:
    """Return the last part of the name that is called: `dag` of `sdk.dag(...)`."""
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def forgotten_dags(path: str) -> list[Problem]:
    """Name the functions under @dag that nobody calls: such a file has no DAG, and Airflow says nothing."""
    tree = syntax_of(path)
    used = {called_name(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return [
        problem(
            path,
            node.lineno,
            f"nothing calls the function {node.name}, so the file has no DAG",
            f"write {node.name}() below it",
        )
        for node in getattr(tree, "body", [])
        if isinstance(node, ast.FunctionDef)
        and any(called_name(decorator) == "dag" for decorator in node.decorator_list)
        and node.name not in used
    ]


def problems_of(dag: DAG, path: str, line: int, edges: Edges) -> list[Problem]:
    """Return what keeps Airflow from running a DAG that it could read."""
    circle = find_circle(dag)
    if circle:
        last, first = circle[-1], circle[0]
        wrong = f"in the DAG {dag.dag_id} the tasks {' >> '.join([*circle, first])} wait for each other"
        fix = f"take out one of these arrows, such as {last} to {first}"
        return [problem(path, edges.get((last, first)) or line, wrong, fix)]
    found = [wrong for wrong in (validation_problem(dag, path, line), storage_problem(dag, path, line)) if wrong]
    return [*found, *unpickling_tasks(dag, path, line)]


def find_circle(dag: DAG) -> list[str]:
    """Return tasks of which each comes before the next one and the last before the first; [] where there are none."""
    done: set[str] = set()
    for start in dag.task_dict:
        way: list[str] = []
        branches: list[Iterator[str]] = [iter([start])]
        while branches:
            name = next(branches[-1], None)
            if name is None:
                branches.pop()
                done.update(way[-1:])
                del way[-1:]
            elif name in way:
                return way[way.index(name) :]
            elif name not in done:
                way.append(name)
                branches.append(iter(sorted(dag.task_dict[name].downstream_task_ids)))
    return []


def validation_problem(dag: DAG, path: str, line: int) -> Problem | None:
    """Say what Airflow does not accept of a DAG."""
    try:
        dag.validate()
        for name in dag.params:
            if (param := dag.params.get_param(name)).has_value:
                param.resolve()
    except Exception as error:
        return problem(path, line, f"Airflow refuses the DAG {dag.dag_id}: {said(error)}", "mend what it names")
    return None


def storage_problem(dag: DAG, path: str, line: int) -> Problem | None:
    """Say what of a DAG cannot be stored: Airflow keeps it as JSON, and schedules from that."""
    from airflow.serialization.serialized_objects import DagSerialization

    try:
        DagSerialization.from_dict(DagSerialization.to_dict(dag))
    except Exception as error:
        fix = "give its operators and parameters plain values: text, numbers, lists, dicts"
        unknown = re.search(r"class '\S*\.(\w+)' is not registered", str(error))
        if unknown:
            fix = f"move {unknown[1]} into a plugin of yours that registers it: `timetables = [{unknown[1]}]`"
        return problem(path, line, f"Airflow cannot store the DAG {dag.dag_id}: {said(error)}", fix)
    return None


def said(error: Exception) -> str:
    """Return the last thing that an error says, in a line."""
    # Airflow calls the module of a DAG file by a name with a long number.
    text = re.sub(r"unusual_prefix_[0-9a-f]+_", "", " ".join(str(error).split()))
    return text[:300] or type(error).__name__


def unpickling_tasks(dag: DAG, path: str, line: int) -> list[Problem]:
    """Name the tasks that unpickle what a container wrote: the image could then run anything where tasks run."""
    found = []
    for task in dag.tasks:
        given = {**getattr(task, "partial_kwargs", {}), **getattr(task, "__dict__", {})}
        kind = getattr(task, "operator_class", type(task))
        names = {base.__name__ for base in getattr(kind, "__mro__", ())}
        wrong = f"the task {task.task_id} unpickles what its container wrote, and so runs what an image likes"
        if "DockerOperator" in names and "_DockerDecoratedOperator" in names:
            fix = "use DockerOperator with retrieve_output=False, and print the result as the last line"
            found.append(problem(path, line, wrong, fix))
        elif "DockerOperator" in names and given.get("retrieve_output"):
            fix = "take out retrieve_output=True, and print the result as the last line"
            found.append(problem(path, line, wrong, fix))
    return found
