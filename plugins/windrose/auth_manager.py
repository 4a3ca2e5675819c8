"""Flask-AppBuilder's accounts and roles, with DAGs that are closed to all but those they name (windrose/access.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.auth_manager.models import Permission, Resource, Role
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import select

from windrose.access import CLOSING_ROLE

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.providers.fab.auth_manager.models import User
    from sqlalchemy.orm import Session

PREFIX = "DAG:"  # what FAB puts before a DAG's id to name what a permission is for
ONLY_ADMIN = ("can_edit", "Roles")  # no other role may do this, and a group may hand on what a role may do
ACTIONS = {"GET": "can_read", "POST": "can_edit", "PUT": "can_edit", "DELETE": "can_delete"}


class WindroseFabAuthManager(FabAuthManager):
    """FAB's, and closed DAGs. Airflow looks for the letters "FabAuthManager" in the name, so they must stay in it."""

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: User,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """Ask FAB, and for a closed DAG also whether the user was named."""
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        if not allowed or details is None or not details.id or not closed_dags(details.id):
            return allowed
        action = ACTIONS[method] if access_entity is None or method == "GET" else "can_edit"
        return may(user, action, details.id)

    @provide_session
    def get_authorized_dag_ids(
        self, *, user: User, method: ResourceMethod = "GET", session: Session = NEW_SESSION
    ) -> set[str]:
        """Return the DAGs that FAB allows, without the closed ones that are not for this user."""
        found: set[str] = super().get_authorized_dag_ids(user=user, method=method, session=session)
        return found - {dag_id for dag_id in found & closed_dags() if not may(user, ACTIONS[method], dag_id)}


def may(user: User, action: str, dag_id: str) -> bool:
    """Say whether a user is an administrator, or was named by the DAG itself."""
    return bool({ONLY_ADMIN, (action, f"{PREFIX}{dag_id}")} & set(user.perms or []))


@provide_session
def closed_dags(dag_id: str = "", *, session: Session = NEW_SESSION) -> set[str]:
    """Return the ids of closed DAGs, or of the one that is asked for if it is closed."""
    wanted = Resource.name == f"{PREFIX}{dag_id}" if dag_id else Resource.name.startswith(PREFIX)
    named = select(Resource.name).select_from(Role).join(Role.permissions).join(Permission.resource)
    found = session.scalars(named.where(Role.name == CLOSING_ROLE, wanted))
    return {name.removeprefix(PREFIX) for name in found}
