"""Waiting for a file in data/, without a slot and without a connection that says where data/ is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk.definitions.context import Context

from windrose.data_folder import data_folder


class DataFileSensor(FileSensor):
    """Wait until a file lies in data/; deferred, so that no task slot is held meanwhile.

    The trigger runs beside the database's password. So only names below data/ are taken: no `/` at the start, no `..`.

    :param filepath: name below data/, may be a pattern such as `results/*.csv` (templated)
    :param seconds: how long to wait, in place of `timeout` where the run's form says it (templated)
    """

    template_fields: Sequence[str] = ("filepath", "seconds")

    def __init__(self, *, seconds: str | float | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - FileSensor's
        super().__init__(**{"deferrable": True, "poke_interval": 2, **kwargs})
        self.seconds = seconds

    @cached_property
    def path(self) -> str:
        """Return the whole path."""
        if self.filepath.startswith("/") or ".." in self.filepath.split("/"):
            raise ValueError(f"{self.filepath}: only a name below data/ can be waited for; write it without / and ..")
        return str(data_folder() / self.filepath)

    def execute(self, context: Context) -> None:
        """Look once, and defer if the file is not there yet."""
        if self.seconds is not None:
            self.timeout = float(self.seconds)
        super().execute(context)
