"""Show the address, the user and the password: the only command that prints a secret."""

from __future__ import annotations

from scripts import generated_secrets, runtime, settings
from scripts.airflow_api import airflow_get_token
from scripts.console import progress, say
from scripts.errors import ExitCode


def run() -> int:
    """Print the login, tried before it is shown."""
    chosen = settings.load()
    address = runtime.choose(chosen).address()
    user, password = chosen["ADMIN_USER"], generated_secrets.read("admin_password")
    accepted = airflow_get_token(address, user, password) is not None
    say(f"Airflow   {address}")
    say(f"User      {user}")
    say(f"Password  {password}")
    if accepted:
        return ExitCode.DONE
    progress(
        "This login was not accepted just now: the stack is down (`make status`), the password was changed in the web "
        "page, or ADMIN_USER was changed after the first start. If it is lost, set a new one with "
        f"`make shell` and `airflow users reset-password --username {user}`."
    )
    return ExitCode.PROBLEM
