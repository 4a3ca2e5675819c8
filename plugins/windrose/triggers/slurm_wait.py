"""Waiting, without a slot, for a cluster that could not say yet whether it has the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class SlurmWaitTrigger(BaseTrigger):
    """Fires after some seconds; if the task is killed meanwhile, cancels the job that there may be."""

    def __init__(self, platform: str, token: str, seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.platform, self.token, self.seconds = platform, token, seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"platform": self.platform, "token": self.token, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"token": self.token})  # type: ignore[no-untyped-call]  # Airflow's

    async def on_kill(self) -> None:
        """Cancel the job by its name, if the cluster has it."""
        from windrose.hooks.slurm import SlurmHook

        if self.token:
            cluster = await asyncio.to_thread(lambda: SlurmHook(self.platform).cluster())
            try:
                await cluster.cancel(self.token)
            finally:
                await cluster.close()
