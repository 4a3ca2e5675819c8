"""What a person writes into `.env` and docker-compose.override.yaml reaches the stack, and moves only what it must."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.engine_support import Stack
from tests.mirror_support import PASSWORD, USER, Mirror, gateway, private_index

READERS = {
    *("airflow-apiserver", "airflow-dag-processor", "airflow-init", "airflow-scheduler", "airflow-triggerer"),
    "janitor",  # it runs `airflow db clean`
}


def changed_services(stack: Stack, before: dict[str, tuple[str, str]]) -> set[str]:
    """Return the services of which a container was started or replaced."""
    after = stack.starts()
    return {name.removeprefix(f"/{stack.project}-")[:-2] for name in after if after[name] != before.get(name)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A server under a certificate that no machine trusts by itself."""
    with private_index(gateway(), tmp_path_factory.mktemp("site")) as mirror:
        yield mirror


def test_airflow_option_reaches_airflow_and_its_readers_only(stack: Stack, site: Mirror) -> None:
    before = stack.starts()
    assert site.authority
    bundle = shutil.copy(site.authority, stack.folder / "site-ca.pem")

    stack.configure(AIRFLOW__CORE__DEFAULT_TIMEZONE="Europe/Helsinki", EXTRA_CA_BUNDLE=str(bundle))
    stack.up()

    done = stack.exec("airflow-dag-processor", "airflow", "config", "get-value", "core", "default_timezone")
    assert done.stdout.strip().splitlines()[-1] == "Europe/Helsinki"
    assert changed_services(stack, before) == READERS


def test_certificates_of_the_site_are_trusted_by_tasks(stack: Stack, site: Mirror) -> None:
    run = stack.trigger("own-asking", address=site.address.replace(f"{USER}:{PASSWORD}@", ""))

    assert stack.result(run) == "success"
    # It wants a login; that it said so means that its certificate was accepted.
    assert stack.returned(run, "ask") == 401


def test_override_file_of_the_user_is_honoured(stack: Stack) -> None:
    before = stack.starts()
    override = stack.folder / "docker-compose.override.yaml"
    override.write_text("services: {janitor: {labels: {owner: me}}}\n", encoding="utf-8")

    stack.up()

    assert stack.containers("janitor")[0]["Config"]["Labels"]["owner"] == "me"
    assert changed_services(stack, before) <= {"janitor", "airflow-init"}
    assert "janitor" in changed_services(stack, before)
