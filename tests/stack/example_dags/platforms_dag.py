"""Log in to a platform in the three ways that Airflow has; the run's conf says to which."""

from datetime import timedelta

from airflow.exceptions import AirflowFailException
from airflow.providers.sftp.hooks.sftp import SFTPHook
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.sdk import DAG, BaseOperator, get_current_context, task
from airflow.sdk.definitions.context import Context
from own_ssh_trigger import AskingTrigger


class AskingOperator(BaseOperator):
    """Ask a platform for its name, without a slot."""

    def execute(self, context: Context) -> None:
        """Wait for the trigger."""
        trigger = AskingTrigger(context["dag_run"].conf["connection"], "hostname")
        self.defer(trigger=trigger, method_name="resume")

    def resume(self, context: Context, event: dict) -> str:
        """Return what the platform said; a login that failed is not tried again."""
        if "failure" in event:
            raise AirflowFailException(event["failure"])
        return event["said"].strip()


with DAG(dag_id="own-platforms", schedule=None, is_paused_upon_creation=False):

    @task
    def ssh() -> str:
        """Ask a platform who we are there."""
        hook = SSHHook(ssh_conn_id=get_current_context()["dag_run"].conf["connection"], conn_retry_attempts=1)
        with hook.get_conn() as client:
            _, said, _ = client.exec_command("whoami")
            return said.read().decode().strip()

    @task
    def sftp() -> list[str]:
        """List the folder of the user, hidden files too."""
        connection = get_current_context()["dag_run"].conf["connection"]
        return sorted(SFTPHook(ssh_conn_id=connection, conn_retry_attempts=1).list_directory("."))

    ssh()
    sftp()
    # Airflow fails a deferred task that is woken before the scheduler has noticed that it went to sleep.
    AskingOperator(task_id="wait", retries=5, retry_delay=timedelta(seconds=1))
