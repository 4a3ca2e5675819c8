"""Reading the YAML file that template-factory makes its tasks of; every mistake is named with its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KEYS = ("name", "description", "values", "steps")
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A group of tasks: what it is called, what goes in, what is done with it."""

    name: str
    description: str | None
    values: list[int]
    steps: list[str]


def read_datasets(path: Path, known_steps: Collection[str]) -> list[Dataset]:
    """Return the datasets of a file, or raise one ValueError that names all that is wrong in it."""
    problems: list[str] = []
    datasets: dict[str, Dataset] = {}
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        for node in entries(root, problems):
            wrong = problems_of(node, mapping(node), known_steps)
            dataset = None if wrong else Dataset(*(plain(mapping(node).get(key)) for key in KEYS))
            if dataset and dataset.name in datasets:
                wrong = [f"line {line_of(node)}: there is a dataset `{dataset.name}` already; give this one a name"]
            problems += wrong
            datasets |= {dataset.name: dataset} if dataset else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.append(f"line {line}: this cannot be read as YAML: {error.problem}")
    if problems:
        raise ValueError("\n".join(f"{path.name} {problem}" for problem in problems))
    return list(datasets.values())


def entries(root: yaml.Node | None, problems: list[str]) -> list[yaml.Node]:
    """Return the entries of the list `datasets`."""
    found = mapping(root).get("datasets")
    if isinstance(found, yaml.SequenceNode) and found.value:
        return list(found.value)
    problems.append(f"line {line_of(found or root)}: there is no list `datasets`; begin it with `datasets:`")
    return []


def problems_of(node: yaml.Node, fields: Mapping[str, yaml.Node], known_steps: Collection[str]) -> list[str]:
    """Return what is wrong with one dataset."""
    problems = [
        f"line {line_of(value)}: `{key}` is not known; write one of {', '.join(KEYS)}"
        for key, value in fields.items()
        if key not in KEYS
    ]
    name, values, steps = (fields.get(key) for key in ("name", "values", "steps"))
    if not NAME.fullmatch(str(plain(name))) or name is None:
        problems.append(f"line {line_of(name or node)}: a dataset needs a `name` of small letters, digits and _")
    numbers = plain(values)
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        problems.append(f"line {line_of(values or node)}: `values` is a list of whole numbers, such as [3, 9]")
    if not isinstance(steps, yaml.SequenceNode) or not steps.value:
        problems.append(f"line {line_of(steps or node)}: `steps` is a list, such as [{min(known_steps)}]")
        return problems
    known = ", ".join(sorted(known_steps))
    unknown = [step for step in steps.value if str(plain(step)) not in known_steps]
    return problems + [f"line {line_of(s)}: there is no step `{plain(s)}`; write one of {known}" for s in unknown]


def mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return the keys of a mapping and their nodes; nothing where it is none."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}


def plain(node: yaml.Node | None) -> Any:  # noqa: ANN401 - whatever the file says
    """Return what a node says as Python's own values."""
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def line_of(node: yaml.Node | None) -> int:
    """Return the line on which a node begins."""
    return node.start_mark.line + 1 if node is not None else 1
