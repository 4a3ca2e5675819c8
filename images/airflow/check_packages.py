"""End the build with proof: every version is the lock's, and everything the kit relies on can be imported."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile

from locked import HERE, installed_versions, locked_versions

# A resolver's "no conflicts" proves nothing: celery 5.7.0 satisfied every bound and could not be imported.
RELIED_ON = (
    "airflow.executors.local_executor:LocalExecutor",
    "airflow.providers.celery.executors.celery_executor:CeleryExecutor",
    "airflow.providers.fab.auth_manager.fab_auth_manager:FabAuthManager",
    "airflow.providers.postgres.hooks.postgres:PostgresHook",
    "airflow.providers.ssh.hooks.ssh:SSHHook",
    "airflow.providers.ssh.hooks.ssh:SSHHookAsync",
    "airflow.providers.ssh.operators.ssh:SSHOperator",
    "airflow.providers.ssh.operators.ssh_remote_job:SSHRemoteJobOperator",
    "airflow.providers.sftp.hooks.sftp:SFTPHook",
    "airflow.providers.sftp.hooks.sftp:SFTPHookAsync",
    "airflow.providers.sftp.operators.sftp:SFTPOperator",
    "airflow.providers.docker.operators.docker:DockerOperator",
    "airflow.providers.cncf.kubernetes.operators.pod:KubernetesPodOperator",
    "airflow.providers.amazon.aws.hooks.s3:S3Hook",
    "airflow.providers.git.bundles.git:GitDagBundle",
    "airflow.providers.http.operators.http:HttpOperator",
    "airflow.providers.smtp.notifications.smtp:SmtpNotifier",
    "airflow.providers.standard.operators.python:PythonOperator",
    "airflow.providers.standard.operators.hitl:ApprovalOperator",
    "airflow_client.client:Configuration",
    "firecrest.v2:AsyncFirecrest",
    "gunicorn.app.base:BaseApplication",
    "docker:DockerClient",
    "yaml:safe_load",
)


def version_problems() -> list[str]:
    """Name each distribution that is not at the lock's version."""
    installed, locked = installed_versions(), locked_versions()
    wrong = {name: version for name, version in installed.items() if locked.get(name, version) != version}
    problems = [f"{name} is {version}, constraints.txt holds {locked[name]}" for name, version in sorted(wrong.items())]
    unknown = sorted(set(installed) - set(locked))
    if unknown and not (HERE / "packages.local.txt").exists():
        problems.append(f"{', '.join(unknown)}: installed, but not in constraints.txt (run `make lock`)")
    return problems


def import_problems() -> list[str]:
    """Name each thing that cannot be imported, and why."""
    problems = []
    for place in RELIED_ON:
        module, name = place.split(":")
        try:
            getattr(importlib.import_module(module), name)
        except Exception as error:  # whatever it is, the build must name it
            problems.append(f"{place} cannot be imported: {error}")
    return problems


def main() -> None:
    """Check, and stop the build on the first kind of problem."""
    with tempfile.TemporaryDirectory() as home:
        # Importing Airflow writes a configuration file; it must not stay in the image.
        os.environ["AIRFLOW_HOME"] = home
        problems = version_problems() or import_problems()
    if subprocess.run(["uv", "pip", "check", "--quiet"], check=False).returncode != 0:
        problems.append("`uv pip check` finds packages that do not fit together (see above)")
    if problems:
        sys.exit("windrose: the packages are not right: " + "; ".join(problems) + ".")
    print("windrose: every package is at its locked version and imports")


if __name__ == "__main__":
    main()
