"""What a person writes into `.env` and docker-compose.override.yaml reaches the stack, and moves only what it must."""

from __future__ import annotations

from tests.engine_support import Stack

READERS = {
    *("airflow-apiserver", "airflow-dag-processor", "airflow-init", "airflow-scheduler", "airflow-triggerer"),
    "janitor",  # it runs `airflow db clean`
}


def changed_services(stack: Stack, before: dict[str, tuple[str, str]]) -> set[str]:
    """Return the services of which a container was started or replaced."""
    after = stack.starts()
    return {name.removeprefix(f"/{stack.project}-")[:-2] for name in after if after[name] != before.get(name)}


def test_airflow_option_reaches_airflow_and_its_readers_only(stack: Stack) -> None:
    before = stack.starts()

    stack.configure(AIRFLOW__CORE__DEFAULT_TIMEZONE="Europe/Helsinki")
    stack.up()

    done = stack.exec("airflow-dag-processor", "airflow", "config", "get-value", "core", "default_timezone")
    assert done.stdout.strip().splitlines()[-1] == "Europe/Helsinki"
    assert changed_services(stack, before) == READERS


def test_override_file_of_the_user_is_honoured(stack: Stack) -> None:
    before = stack.starts()
    override = stack.folder / "docker-compose.override.yaml"
    override.write_text("services: {janitor: {labels: {owner: me}}}\n", encoding="utf-8")

    stack.up()

    assert stack.containers("janitor")[0]["Config"]["Labels"]["owner"] == "me"
    assert changed_services(stack, before) <= {"janitor", "airflow-init"}
    assert "janitor" in changed_services(stack, before)
