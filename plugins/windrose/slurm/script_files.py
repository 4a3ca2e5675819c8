"""Which file does `script_file` name? One beside the DAG, or below dags/ or data/, and none anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

LARGEST = 4 * 1024 * 1024  # bytes: what Slurm itself takes as a script


class NoScript(ValueError):
    """A script that cannot be read, told in a sentence."""


def read_script(name: str, dag_folder: Path, dags: Path, data: Path) -> str:
    """Return the text of a script: looked for in the DAG's folder, then below dags/, or below data/."""
    path = find(name, dag_folder, dags, data)
    if path.stat().st_size > LARGEST:
        raise NoScript(f"{name} is larger than {LARGEST // 1024**2} MB, which Slurm takes as a script; name another.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise NoScript(f"{name} is no text in UTF-8; name a script.") from None


def find(name: str, dag_folder: Path, dags: Path, data: Path) -> Path:
    """Return the file, whose name may come from a run's form: so it must lie in one of these folders."""
    roots = [dag_folder.resolve(), dags.resolve(), data.resolve()]
    for path in candidates(Path(name), dag_folder, dags, data):
        found = path.resolve()
        if not any(found.is_relative_to(root) for root in roots):
            raise NoScript(f"{name} leads out of dags/ and data/; name a script there.")
        if found.is_file():
            return found
    raise NoScript(f"there is no script {name} beside the DAG, below dags/ or below data/; correct `script_file`.")


def candidates(name: Path, dag_folder: Path, dags: Path, data: Path) -> Sequence[Path]:
    """Return where a script of this name may lie, the nearest first."""
    if name.is_absolute():
        return [name]
    if name.parts[:1] == ("data",):
        return [dag_folder / name, data.joinpath(*name.parts[1:])]
    if name.parts[:1] == ("dags",):
        return [dag_folder / name, dags.joinpath(*name.parts[1:])]
    return [dag_folder / name, dags / name]


def filled_in(name: str, render: Callable[[], object]) -> str:
    """Return a script with its templates filled in."""
    from jinja2 import TemplateError

    try:
        return str(render())
    except TemplateError as error:
        mend = "put {% raw %} and {% endraw %} around what is none, such as ${#array[@]}"
        raise NoScript(f"a template in {name} does not work ({error}); {mend}.") from None
