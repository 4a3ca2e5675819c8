"""Hand over what people made in one Airflow to another: connections, pools, variables, roles and users; not runs.

`{"do": "export"}` on stdin prints all of it, secrets included, for a pipe and no file; `{"do": "users", ...}` takes
roles and users over (the rest is what register.py takes). Passwords of users travel as the hashes they are stored as.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride

# Marks the batch jobs of one installation. Runs are not handed over, so the other one has jobs of its own.
INSTALLATION = "windrose_installation"
CONNECTION = ("conn_type", "description", "host", "login", "password", "port", "schema", "extra")
POOL = ("slots", "description", "include_deferred")
USER = ("username", "email", "first_name", "last_name", "active")


def fields_of(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a row that are set."""
    return {name: getattr(row, name) for name in names if getattr(row, name) is not None}


def export() -> dict[str, Any]:
    """Return what this Airflow holds, in the form that register.py takes, and its people."""
    from airflow.models.connection import Connection
    from airflow.models.pool import Pool
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found: dict[str, Any] = {
            "connections": {row.conn_id: fields_of(row, CONNECTION) for row in session.scalars(select(Connection))},  # noqa: AIR321 - the table
            "pools": {row.pool: fields_of(row, POOL) for row in session.scalars(select(Pool))},
            "variables": {
                row.key: {"value": row.val, "description": row.description}
                for row in session.scalars(select(Variable))  # noqa: AIR321 - the table
                if row.key != INSTALLATION
            },
        }
    return {**found, **export_people()}


def export_people() -> dict[str, Any]:
    """Return users with their roles, and the permissions of roles that Airflow does not make itself."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        users = [
            {**fields_of(user, USER), "password": user.password, "roles": [role.name for role in user.roles]}
            for user in builder.sm.get_all_users()
        ]
        own = {"Admin", "Op", "User", "Viewer", "Public"}
        roles = {
            role.name: [[permission.action.name, permission.resource.name] for permission in role.permissions]
            for role in builder.sm.get_all_roles()
            if role.name not in own
        }
    return {"users": users, "roles": roles}


def take_people(request: dict[str, Any]) -> dict[str, Any]:
    """Make the roles and users that are not here yet."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    answer: dict[str, Any] = {"users": {}, "roles": sorted(request["roles"])}
    with get_application_builder() as builder:
        for name, permissions in request["roles"].items():
            role = builder.sm.find_role(name) or builder.sm.add_role(name)
            for action, resource in permissions:
                builder.sm.add_permission_to_role(role, builder.sm.create_permission(action, resource))
        for user in request["users"]:
            answer["users"][user["username"]] = take_user(builder.sm, user)
    return answer


def take_user(security: FabAirflowSecurityManagerOverride, user: dict[str, Any]) -> str:
    """Make one user, with the hash of the password as it was; one of that name takes that password, too."""
    present = security.find_user(username=user["username"])
    if present:
        present.password = user["password"]
        security.update_user(present)
        return "kept"
    roles = [role for role in map(security.find_role, user["roles"]) if role]
    made = security.add_user(
        username=user["username"],
        first_name=user["first_name"],
        last_name=user["last_name"],
        email=user["email"],
        role=roles,
        hashed_password=user["password"],
    )
    if not made:
        return "refused"
    if not user["active"]:
        made.active = False
        security.update_user(made)
    return "added"


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    try:
        said = export() if asked["do"] == "export" else take_people(asked)
    except Exception as error:
        # Its message may hold what was to be carried.
        said = {"failed": type(error).__name__}
    sys.stdout.write(json.dumps(said) + "\n")
