"""A stack of its own with the demo cluster beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine_support import Stack, describe, running_stack
from tests.slurm_chaos import add_dags

PROJECT = "windrose-chaos"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A running stack, removed in the end."""
    with running_stack(tmp_path_factory.mktemp("chaos") / "clone", PROJECT) as stack:
        stack.up()
        done = stack.make("demo")
        assert done.returncode == 0, done.stdout + done.stderr
        add_dags(stack)
        yield stack
        if request.session.testsfailed:
            print(describe(stack))
