"""Run a container as a task, through the proxy that stands before Docker's engine.

    DockerJobOperator(task_id="train", image="registry.example.org/team/train:1.4", command=["python", "train.py"],
                      mounts=["/data/set:/data:ro", "job-models:/models"], cpus=4, mem_limit="8g")

The job ends with its task: when the task is killed, runs into its timeout, or its worker dies, the container is stopped
and removed. What it may use is decided by JOB_IMAGES, JOB_MOUNTS and JOB_NFS in `.env`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from docker.errors import APIError
from requests.exceptions import ConnectionError as ConnectionLost

from windrose import container_jobs
from windrose.container_log import JobLog

if TYPE_CHECKING:
    from airflow.sdk import Context

SOCKET = "/run/docker-proxy/docker.sock"


class DockerJobOperator(DockerOperator):
    """Runs one container to its end and shows its log; returns the last line of its standard output.

    :param command: a list of words; a text is run by `sh -c`. Without it the image's own command runs.
    :param environment: names and values; a secret does not belong there.
    :param mounts: texts such as `/folder:/inside:ro`, `job-cache:/inside` or `server:/export:/inside`.
    :param cpus: how many, as a hard quota.
    :param mem_limit: memory such as `512m` or `8g`; there is no swap on top of it.
    :param gpus: how many GPUs, or `all`.
    :param secrets: connections whose fields the job finds in its environment, as `<ID>_PASSWORD` and so on. They are
        not kept with the run; who may use Docker on that machine can see them while the job runs.
    :param docker_conn_id: a connection to the private registry that the image comes from.
    :param network: False leaves the job without any network.
    :param log_limit_mb: how large the log of the task may get; when it is full, only the last lines follow.
    """

    template_fields: Sequence[str] = (
        *("image", "command", "environment", "mounts", "cpus", "mem_limit", "gpus", "secrets"),
        *("docker_conn_id", "working_dir"),
    )
    # A command that ends in .sh is a command, not the name of a template.
    template_ext: Sequence[str] = ()

    def __init__(
        self,
        *,
        image: str,
        cpus: float | str = 1.0,
        mem_limit: str = "1g",
        gpus: int | str = 0,
        secrets: list[str] | str | None = None,
        network: bool = True,
        log_limit_mb: int = 10,
        socket: str = SOCKET,
        **kwargs: Any,  # noqa: ANN401 - those of DockerOperator and of every operator
    ) -> None:
        fixed = {"mount_tmp_dir": False, "retrieve_output": False, "auto_remove": "force"}
        super().__init__(image=image, mem_limit=mem_limit, docker_url=f"unix:/{socket}", **{**kwargs, **fixed})
        self.cpus = cpus  # type: ignore[assignment]  # as a form writes it
        self.gpus = gpus
        self.secrets = secrets or []
        self.network = network
        self.log_limit_mb = log_limit_mb
        self.socket = socket

    def execute(self, context: Context) -> str | None:
        """Check, clean up, run, and tell how it ended."""
        name = container_jobs.container_name(context["ti"])
        settings = self.container_settings()
        container_jobs.need_proxy(self.socket)
        try:
            container_jobs.remove_leftover(self.cli, name, self.log)
            container_jobs.ensure_image(self.cli, self.image, self.log, pull=self.force_pull)
            host = self.cli.create_host_config(**self.host_settings())
            labels = container_jobs.task_labels(context["ti"])
            self.container = self.cli.create_container(name=name, labels=labels, host_config=host, **settings)
            try:
                return self.follow(self.container["Id"])
            finally:
                container_jobs.remove(self.cli, self.container["Id"])
        except APIError as error:
            raise container_jobs.explained(error, self.image) from error
        except ConnectionLost as error:
            raise RuntimeError("the service docker-proxy went away, and the job with it") from error

    def follow(self, container: str) -> str | None:
        """Start the job and show what it writes until it ends."""
        log = JobLog(lambda line: self.log.info("%s", line), self.log_limit_mb * 1000**2)
        stream = self.cli.attach(container=container, stdout=True, stderr=True, stream=True, demux=True)
        self.cli.start(container)
        for output, errors in stream:
            log.add(output, errors)
        last = log.close()
        code = self.cli.wait(container)["StatusCode"]
        state = self.cli.inspect_container(container)["State"]
        if code in self.skip_on_exit_code:
            raise AirflowSkipException(f"the job ended with code {code}, which means that there was nothing to do")
        if code:
            raise RuntimeError(container_jobs.reason(code, state, self.mem_limit))
        if state.get("OOMKilled"):
            self.log.warning("a part of the job ran out of memory (limit %s) and was ended", self.mem_limit)
        return last if self.do_xcom_push and last else None

    def container_settings(self) -> dict[str, Any]:
        """Return what the container is made with; what cannot be used is told before anything is done."""
        command, entrypoint = self.format_command(self.command), self.format_command(self.entrypoint)
        if isinstance(command, str) and command:
            command, entrypoint = [command], entrypoint or ["sh", "-c"]
        environment = container_jobs.check_environment(container_jobs.parsed(self.environment, dict, "environment"))
        secrets = container_jobs.parsed(self.secrets, list, "secrets")
        return {
            "image": self.image,
            "command": command or None,
            "entrypoint": entrypoint,
            "environment": {**environment, **container_jobs.secret_environment(secrets, self.hook.get_connection)},
            "working_dir": self.working_dir or None,
            "user": self.user,
        }

    def host_settings(self) -> dict[str, Any]:
        """Return what the container may use of the machine."""
        if not self.mem_limit:
            raise AirflowFailException("mem_limit is empty; write what the job needs, such as 512m or 8g")
        return {
            "nano_cpus": container_jobs.nano_cpus(self.cpus),
            "mem_limit": self.mem_limit,
            "mounts": container_jobs.mounts(container_jobs.parsed(self.mounts, list, "mounts")),
            "device_requests": container_jobs.device_requests(self.gpus),
            "shm_size": self.shm_size,
            "network_mode": None if self.network else "none",
        }
