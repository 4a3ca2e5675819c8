"""Which DAGs are not for everybody who may start DAGs?

A DAG that runs what its form says takes `access_control=ADMIN_AND_OP`. Airflow's roles alone would not keep the role
User out: it may edit and start every DAG, and `access_control` only adds to what a role may do. Windrose's auth manager
(windrose/auth_manager.py) reads it as a person does: a DAG that names the role Op is for Op and Admin, and others
neither see nor start it.
"""

from __future__ import annotations

from typing import Final

CLOSING_ROLE: Final = "Op"  # it may do everything with every DAG, so a DAG has no other reason to name it
ADMIN_AND_OP: Final = {CLOSING_ROLE: {"DAGs": {"can_read", "can_edit", "can_delete"}}}
