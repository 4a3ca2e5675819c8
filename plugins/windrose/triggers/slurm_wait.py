"""Waiting, without a slot, for a cluster that could not say yet whether it has the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from windrose.triggers.slurm import JobTrigger


class SlurmWaitTrigger(JobTrigger):
    """Fires after some seconds; if the task is killed meanwhile, cancels the job that there may be."""

    def __init__(self, platform: str, token: str, seconds: float) -> None:
        super().__init__(platform, token)
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"platform": self.platform, "token": self.token, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"token": self.token})  # type: ignore[no-untyped-call]  # Airflow's

    async def kill(self) -> str:
        """Cancel the job, if one was about to be submitted."""
        return await super().kill() if self.token else ""
