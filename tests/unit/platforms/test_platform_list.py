"""What DAGs are told of the file: which platforms there are, and of which type."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.secrets_file_support import Load, Told, load_text, told_of


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


def test_dags_are_told_which_platforms_there_are(load: Load) -> None:
    more = "raw: {old: 'http://h'}\nvariables: {v: 1}\n"
    plan = load("platforms: {x: {a: {type: s3}, b: {type: http, address: 'http://h', id: web}}}\n" + more)

    assert plan.variables == {
        "v": 1,
        "windrose_platforms": [{"id": "x-a", "type": "s3"}, {"id": "web", "type": "http"}],
    }


def test_dags_are_told_which_platforms_have_a_batch_system(load: Load) -> None:
    ssh = "type: ssh, address: h, user: u, key: k"
    rest = "{type: firecrest, address: 'https://h', token_url: 'https://t', system: s, key: c}"
    plan = load(
        f"platforms: {{x: {{a: {{{ssh}, scheduler: slurm}}, b: {{{ssh}}}, c: {rest}}}}}\n"
        "connections: {ssh: {k: {path: /run/secrets/k}}, firecrest: {c: {client_id: i, client_secret: s}}}\n"
    )

    assert plan.variables["windrose_platforms"] == [
        {"id": "x-a", "type": "ssh", "scheduler": "slurm"},
        {"id": "x-b", "type": "ssh"},
        {"id": "x-c", "type": "firecrest", "scheduler": "slurm"},
    ]


def test_variable_that_marks_the_jobs_of_an_installation_is_not_the_files(told: Told) -> None:
    said = told("platforms: {x: {a: {type: s3}}}\nvariables: {windrose_installation: 1}\n")

    assert said == (
        "secrets.yaml line 2: variables.windrose_installation marks the batch jobs of an installation, which makes it"
        " itself; take another name."
    )


def test_variable_that_tells_dags_of_the_platforms_is_not_the_files(told: Told) -> None:
    said = told("platforms: {x: {a: {type: s3}}}\nvariables: {windrose_platforms: 1}\n")

    assert said == (
        "secrets.yaml line 2: variables.windrose_platforms is what Windrose tells DAGs of the platforms;"
        " take another name."
    )
