"""Whatever the file holds: a plan or clear problems, and never a secret in what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from scripts.errors import KitError
from scripts.platforms import secrets_file
from scripts.platforms.credentials import CREDENTIALS
from scripts.platforms.models import MODELS, keys_of, known_words
from scripts.settings import STATE

set_hypothesis_home_dir(STATE / "test" / "hypothesis")  # it writes there even without a database
PLANTED = "Zq7-planted-Xw9"  # resembles no key, no type and no name
MANY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ANY_TEXT = st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
SIGNS = "platforms: connections: ssh: {a: b} [ ] - & * ! | > << '' \" # ${ \n \t".split(" ")
WORDS = st.sampled_from(sorted(known_words() | set(MODELS)))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(PLANTED), st.just("(fill)")
)
REFERENCES = st.sampled_from(["a", "b", "x-a", "x-b", "x.a", "empty", "22", "yes", "https://a.b", "${HOME}", "${no}"])
VALUES = st.one_of(SCALARS, REFERENCES)
KEYS = st.one_of(WORDS, st.text())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=20,
)


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clone") / "secrets.yaml"


def outcome(path: Path, content: bytes) -> tuple[object, str]:
    """Return the plan or None, and everything that a person gets to see of it."""
    path.write_bytes(content)
    try:
        # ask: a made-up command could be anything.
        plan = secrets_file.load(path, ask=False)
    except KitError as error:
        assert str(error).strip() != ""
        return None, f"{error} {error!r} {error.args}"
    return plan, f"{plan!r} {plan.warnings}"


GOOD = f"""
platforms:
  x:
    a: {{type: ssh, address: one.example.org, user: ada, key: mine, jump: x-b, extra: {{cmd_timeout: 60}}}}
    b: {{type: sftp, address: two.example.org, user: ada, key: mine, environment: {{A: '1'}}, preamble: "x\\ny"}}
    c: {{type: postgres, address: db, user: ada, key: results}}
    d: {{type: http, address: 'https://a.b', key: api}}
    e: {{type: s3, key: store}}
connections:
  ssh:
    mine: {{phrase: {PLANTED}}}
    word:
      password: '{PLANTED}'
  postgres:
    results:
      password: {PLANTED}
  http: {{api: {{token: "{PLANTED}"}}}}
  s3: {{store: {{access_key: {PLANTED}, secret_key: {PLANTED}}}}}
raw:
  one: ftp://u:{PLANTED}@h:21/
  two: {{conn_type: ftp, password: {PLANTED}, extra: {{token: {PLANTED}}}}}
variables: {{v: {PLANTED}, w: [{PLANTED}, {{x: {PLANTED}}}]}}
pools: {{small: 2}}
"""


@MANY
@given(places=st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 3), st.sampled_from(SIGNS)), min_size=1))
def test_damaged_file_gives_a_plan_or_problems_without_the_planted_value(
    path: Path, places: list[tuple[int, int, str]]
) -> None:
    text = GOOD
    for place, cut, sign in places:
        text = text[:place] + sign + text[place + cut :]

    _, said = outcome(path, text.encode())

    assert PLANTED not in said


def test_file_that_is_damaged_here_is_good_as_it_stands(path: Path) -> None:
    plan, said = outcome(path, GOOD.encode())

    assert plan is not None
    assert PLANTED not in said


def entry_of(model: type) -> st.SearchStrategy[dict[str, object]]:
    """Return mappings that resemble what a model takes."""
    keys = st.sampled_from([*keys_of(model), PLANTED])
    return st.dictionaries(keys, st.one_of(VALUES, TREES), max_size=8)


@st.composite
def almost_files(draw: st.DrawFn) -> dict[str, object]:
    """Return files of the right shape with anything in them."""
    platforms: dict[str, object] = {}
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]))):
        kind = draw(st.sampled_from(sorted(MODELS)))
        platforms[name] = {**draw(entry_of(MODELS[kind])), "type": kind, "key": draw(VALUES)}
    connections = {
        kind: {name: draw(entry_of(CREDENTIALS[kind])) for name in draw(st.sets(st.sampled_from(["a", "b"])))}
        for kind in draw(st.sets(st.sampled_from(sorted(CREDENTIALS))))
    }
    others = draw(st.dictionaries(st.sampled_from(["raw", "variables", "pools"]), TREES))
    return {"platforms": {"x": platforms}, "connections": connections, **others}


@MANY
@given(content=st.one_of(st.binary(max_size=200), ANY_TEXT))
def test_any_bytes_give_a_plan_or_problems(path: Path, content: bytes) -> None:
    plan, said = outcome(path, content)

    assert plan is not None or said.startswith("secrets.yaml")


@MANY
@given(text=st.lists(st.sampled_from(SIGNS)))
def test_any_text_made_of_yaml_signs_gives_a_plan_or_problems(path: Path, text: list[str]) -> None:
    plan, said = outcome(path, " ".join(text).encode())

    assert plan is not None or said.startswith("secrets.yaml")


@MANY
@given(tree=TREES)
def test_any_tree_gives_a_plan_or_problems_without_the_planted_value(path: Path, tree: object) -> None:
    _, said = outcome(path, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))

    assert PLANTED not in said


@MANY
@given(tree=almost_files())
def test_any_almost_right_file_gives_a_plan_or_problems_without_the_planted_value(
    path: Path, tree: dict[str, object]
) -> None:
    plan, said = outcome(path, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))

    assert plan is not None or said.startswith("secrets.yaml")
    assert PLANTED not in said
