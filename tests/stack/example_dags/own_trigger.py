"""A trigger of the user's own, which writes to the shared data/."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class WritingTrigger(BaseTrigger):
    """Read what the task wrote, write an answer, wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how to make this trigger again."""
        return "own_trigger.WritingTrigger", {"seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Write, wait, and wake the task."""
        said = Path("/opt/airflow/data/from-task").read_text(encoding="utf-8")
        self.log.info("the trigger runs")
        Path("/opt/airflow/data/from-trigger").write_text(f"{said}, trigger", encoding="utf-8")
        await asyncio.sleep(self.seconds)
        yield TriggerEvent("done")
