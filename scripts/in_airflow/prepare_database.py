"""Bring the database to this Airflow's schema and make sure that somebody can log in.

Runs once in the service `airflow-init`, inside Airflow's Python, and does in one process what three `airflow`
commands would do in three. It prints one line a step and can run again at any time.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride

PASSWORD_FILE = Path(os.environ.get("WINDROSE_ADMIN_PASSWORD_FILE", "/run/windrose/admin_password"))
ADMIN_VARIABLE = "WINDROSE_ADMIN_USER"


class InitError(Exception):
    """A problem told in one sentence."""


def main() -> int:
    """Do both steps; return the exit code."""
    try:
        user, password = os.environ.get(ADMIN_VARIABLE, "").strip(), read_password()
        if not user:
            raise InitError(f"{ADMIN_VARIABLE} is empty; set it to the name of the first administrator")
        be_quiet()
        check_connection()
        say(prepare_schema())
        say(prepare_admin(user, password))
    except InitError as error:
        print(f"airflow-init: {error}.", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


def say(line: str) -> None:
    """Print one line of what has been done."""
    print(f"airflow-init: {line}", flush=True)  # noqa: T201


def read_password() -> str:
    """Read the administrator's password; the file may end in a newline, the password does not."""
    try:
        password = PASSWORD_FILE.read_text().rstrip("\n")
    except OSError as error:
        raise InitError(f"{PASSWORD_FILE} cannot be read ({error.strerror}); run `make up`, which writes it") from error
    if not password:
        raise InitError(f"{PASSWORD_FILE} is empty; delete it and run `make up`, which writes it anew")
    return password


def be_quiet() -> None:
    """Keep Airflow's dozens of progress lines out of the way; errors still show. Before the first import of it."""
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    warnings.simplefilter("ignore")


def check_connection() -> None:
    """Connect once, so that an unreachable database is one sentence and not a page."""
    from airflow import settings
    from sqlalchemy.exc import OperationalError

    engine = settings.get_engine()
    try:
        with engine.connect():
            return
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[0]
        raise InitError(f"no connection to {where}: {reason}; look at `make logs SERVICE=postgres`") from error


def prepare_schema() -> str:
    """Create or migrate Airflow's tables and those of the login manager, unless they are current."""
    from airflow import settings
    from airflow.utils import db
    from airflow.utils.db_manager import RunDBManager

    with settings.Session() as session:  # type: ignore[misc]  # None only until Airflow is initialised
        before = db._get_current_revision(session)
        is_current = before == db._get_script_object().get_current_head()
        is_current = is_current and RunDBManager().check_migration(session)
    if is_current:
        # The migration takes a lock, runs Alembic over every revision and costs seconds even with nothing to do.
        return f"the database is at revision {before}, as this Airflow needs it"
    try:
        db.upgradedb()
    except SystemExit as error:
        raise InitError("the database cannot be migrated by itself; see the lines above") from error
    with settings.Session() as session:  # type: ignore[misc]  # None only until Airflow is initialised
        after = db._get_current_revision(session)
    return (
        f"created the database at revision {after}" if before is None else f"migrated the database to revision {after}"
    )


def prepare_admin(user: str, password: str) -> str:
    """Sync roles and permissions, then create the administrator unless somebody has that name."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)
        builder.sm.sync_roles()
        if builder.sm.find_user(username=user):
            return f"kept the user {user}"
        return create_admin(builder.sm, user, password)


def create_admin(security: FabAirflowSecurityManagerOverride, user: str, password: str) -> str:
    """Create the administrator."""
    role = security.find_role("Admin")
    if role is None or not security.add_user(user, user, "Administrator", f"{user}@localhost", role, password):
        raise InitError(f"the user {user} could not be created; see the lines above")
    return f"created the user {user} with the role Admin"


if __name__ == "__main__":
    sys.exit(main())
