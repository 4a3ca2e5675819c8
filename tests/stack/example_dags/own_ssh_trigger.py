"""A trigger of the user's own, which asks a platform over SSH."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.ssh.hooks.ssh import SSHHookAsync
from airflow.triggers.base import BaseTrigger, TriggerEvent


class AskingTrigger(BaseTrigger):
    """Run one command on a platform."""

    def __init__(self, connection: str, command: str) -> None:
        super().__init__()
        self.connection = connection
        self.command = command

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how to make this trigger again."""
        return "own_ssh_trigger.AskingTrigger", {"connection": self.connection, "command": self.command}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Log in, ask, and wake the task with the answer."""
        try:
            _, said, _ = await SSHHookAsync(ssh_conn_id=self.connection).run_command(self.command)
        except Exception as error:
            yield TriggerEvent({"failure": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({"said": said})
