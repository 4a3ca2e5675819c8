"""A person logs in with the generated password and sees the DAGs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DAG
from tests.engine_support import Stack

expect.set_options(timeout=30_000)


def log_in(page: Page, password: str) -> None:
    """Fill in the form and send it."""
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign In").click()


@pytest.fixture
def dag_list(page: Page, stack: Stack) -> Page:
    """The list of DAGs, after the login."""
    log_in(page, stack.secrets()["admin_password"])
    page.goto("/dags")
    return page


def test_wrong_password_is_refused_with_a_message(page: Page) -> None:
    log_in(page, "not the password")

    expect(page.get_by_text(re.compile("invalid login", re.IGNORECASE))).to_be_visible()
    assert "/auth/login" in page.url


def test_generated_password_opens_the_dag_list(dag_list: Page) -> None:
    expect(dag_list.get_by_role("link", name=DAG)).to_be_visible()


def test_dag_opens_from_the_list(dag_list: Page) -> None:
    dag_list.get_by_role("link", name=DAG).click()

    expect(dag_list).to_have_url(re.compile(rf"/dags/{DAG}"))
    expect(dag_list.get_by_role("heading", name=DAG)).to_be_visible()
    expect(dag_list.get_by_role("link", name="hello_world", exact=True)).to_be_visible()


def test_run_started_in_the_page_ends_in_success(dag_list: Page, stack: Stack) -> None:
    dag_list.goto(f"/dags/{DAG}")
    dag_list.get_by_role("button", name="Trigger").first.click()
    dialog = dag_list.get_by_role("dialog")
    dialog.get_by_role("button", name="Trigger").click()

    expect(dialog).to_be_hidden()
    runs = stack.api("GET", f"dags/{DAG}/dagRuns")["dag_runs"]
    assert [stack.result(f"dags/{DAG}/dagRuns/{run['dag_run_id']}") for run in runs] == ["success"]
