"""`make demo` where no engine answers: the stack runs without one, the demo cluster does not."""

from __future__ import annotations

from tests.embedded.conftest import Embedded


def test_demo_says_that_it_needs_an_engine_and_leaves_nothing_behind(stack: Embedded) -> None:
    done = stack.command("demo")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Docker: no Docker Engine answers")
    assert stack.command("up").returncode == 0
    ended = stack.command("demo", DOWN="yes")
    assert (ended.returncode, (stack.folder / ".windrose" / "demo").exists()) == (0, False)
