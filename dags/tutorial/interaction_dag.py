"""Run commands on a platform over SSH, then list a folder there over SFTP.

## What it does
`ssh_interaction` runs `pwd` and `ls` on a platform and prints what each of them wrote; `sftp_interaction` lists a
folder. The host key is checked as everywhere: `make connections` has pinned it.

## Needs
A platform of the type `ssh` in `secrets.yaml`, registered with `make connections`: `cloud` with `cpouta-1` below it
becomes the connection `cloud-cpouta-1`. `make check-platforms` says whether it can be reached.

## Parameters
- `connection`: the connection of the platform, `<group>-<name>`.
- `remote-path`: the folder to list, as the platform names it; the `pwd` in the first log is a good start.

## Try it
    make trigger DAG=tutorial-interaction CONF='{"connection": "hpc-lumi", "remote-path": "/scratch"}' WAIT=1

## Result
The log of `ssh_interaction` shows a list with what each command wrote, the home folder there first. The log of
`sftp_interaction` shows the sorted names in the folder, hidden ones too. A command that fails, a folder that is not
there or a machine that cannot be reached fails the task.
"""

from airflow.providers.sftp.hooks.sftp import SFTPHook
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.sdk import DAG, Param, get_current_context, task

with DAG(
    dag_id="tutorial-interaction",
    description="Run commands on a platform over SSH, then list a folder there over SFTP.",
    doc_md=__doc__,
    start_date=None,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["integration"],
    params={
        "connection": Param(
            "cloud-cpouta-1",
            type="string",
            minLength=1,
            title="Connection",
            description="The platform's connection, <group>-<name>",
        ),
        "remote-path": Param(
            "/home/ubuntu", type="string", minLength=1, title="Remote path", description="The folder to list there"
        ),
    },
):

    @task
    def ssh_interaction(commands: list[str]) -> None:
        """Print what each command writes; the first that fails fails the task."""
        hook = SSHHook(ssh_conn_id=get_current_context()["params"]["connection"])
        written = []
        with hook.get_conn() as client:
            for command in commands:
                _, stdout, stderr = client.exec_command(command, timeout=60)
                written.append(stdout.read().decode("utf-8", "replace"))
                said = stderr.read().decode("utf-8", "replace").strip()
                if (code := stdout.channel.recv_exit_status()) != 0:
                    raise RuntimeError(f"`{command}` ended with code {code}: {said}")
        print(written)

    @task
    def sftp_interaction() -> None:
        """Print the sorted names in the folder."""
        params = get_current_context()["params"]
        connection, folder = params["connection"], params["remote-path"]
        with SFTPHook(ssh_conn_id=connection).get_managed_conn() as client:
            try:
                print(sorted(client.listdir(folder)))
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{connection} has no folder {folder}") from error

    ssh_interaction(commands=["pwd", "ls"]) >> sftp_interaction()
