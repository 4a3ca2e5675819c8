"""A running stack, and Chromium as a person has it: no proxy, no cookies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.tiers import find_browser
from tests.engine_support import Stack, describe, eventually, running_stack

DAG = "tutorial-hello-world"  # that the tests look for
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A running stack with the shipped DAGs."""
    folder = tmp_path_factory.mktemp("browser") / "clone"
    with running_stack(folder, "windrose-test-browser", MEMORY_MB="6000") as stack:
        stack.up()
        # The stack is healthy before it has read its DAGs.
        eventually(lambda: DAG in stack.dag_ids(), within=120)
        yield stack
        if request.session.testsfailed:
            print(describe(stack))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium of this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(dict(os.environ)), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(stack: Stack, chromium: Browser) -> Iterator[Page]:
    """The page that a person sees first."""
    context = chromium.new_context(base_url=f"http://127.0.0.1:{stack.port}", locale="en-US")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()
