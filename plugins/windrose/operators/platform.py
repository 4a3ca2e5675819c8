"""The operator that runs one command on a platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Connection
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from windrose import remote_command


class PlatformCommandOperator(BaseOperator):
    """Run a command on an SSH platform, show what it says, and end as it ends; a kill ends it there, too.

    :param platform: id of the platform (templated)
    :param command: what a login shell there runs (templated)
    :param minutes: it is ended after so many minutes (templated)
    :param lines: how many lines of output the log takes (templated)
    """

    template_fields: Sequence[str] = ("platform", "command", "minutes", "lines")

    def __init__(
        self,
        *,
        platform: str,
        command: str,
        minutes: float | str = 60,
        lines: int | str = 2000,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.platform, self.command, self.minutes, self.lines = platform, command, minutes, lines
        self.client: Any = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Log in, run it, and return its exit code and its last lines."""
        from airflow.providers.ssh.hooks.ssh import SSHHook

        if not self.platform or not self.command.strip():
            raise AirflowFailException("platform or command is empty; fill in both.")
        output = remote_command.Output(lambda line: self.log.info("[remote] %s", line), int(self.lines))
        hook = SSHHook(ssh_conn_id=self.reachable(), conn_timeout=30)
        with hook.get_conn() as self.client:
            try:
                code = remote_command.run(self.client, self.command, output, seconds=float(self.minutes) * 60)
            except remote_command.TookTooLong:
                raise AirflowFailException(f"it took longer than {self.minutes} minutes and was ended.") from None
            except remote_command.LostCommand:
                raise AirflowFailException(f"{self.platform} closed the connection before the command ended.") from None
        result = {"platform": self.platform, "exit_code": code, "lines": output.lines, "last_lines": list(output.last)}
        if code != 0:
            context["ti"].xcom_push("return_value", result)
            raise AirflowFailException(f"the command ended with code {code} on {self.platform}.")
        return result

    def reachable(self) -> str:
        """Return the platform's id where it takes commands: no other login is sent to a server over SSH."""
        try:
            kind = Connection.get(self.platform).conn_type
        except AirflowNotFoundException:
            kind = ""
        if kind == "ssh":
            return self.platform
        problem = f"{self.platform} is of type {kind}" if kind else f"there is no platform {self.platform}"
        raise AirflowFailException(f"{problem}; name one of type ssh in secrets.yaml.")

    def on_kill(self) -> None:
        """Close the connection: that ends the command there."""
        if self.client is not None:
            self.client.close()
