"""What Airflow loads from plugins/: registration only, the code is in the package `windrose`."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from windrose import task_memory, task_orphan
from windrose.login_limiter import LoginLimiterMiddleware


class WindrosePlugin(AirflowPlugin):
    """Everything Windrose registers with Airflow."""

    name = "windrose"
    fastapi_root_middlewares: ClassVar[list[Any]] = [
        {"name": "Limit the rate of login attempts", "middleware": LoginLimiterMiddleware},
    ]
    listeners: ClassVar[list[Any]] = [task_memory, task_orphan]
