"""The three operators of FirecREST's own tutorials, over what Windrose does with such a platform anyway.

    FirecRESTUploadOperator(task_id="up", system="hpc-api", source_path="data/in.csv", target_path="/scratch/in.csv")
    FirecRESTSubmitOperator(task_id="job", system="hpc-api", script="#!/bin/bash\\nwc in.csv", working_dir="/scratch")
    FirecRESTDownloadOperator(task_id="down", system="hpc-api", source_path="/scratch/out", target_path="data/out")

`system` is the id of a platform in `secrets.yaml`; where there is none of that id, it is the name of the machine in the
API, and the task's own environment says the rest: FIRECREST_URL, AUTH_TOKEN_URL, FIRECREST_CLIENT_ID and
FIRECREST_CLIENT_SECRET. Nothing of that is read before the task runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Connection
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from windrose import transfer
from windrose.operators.slurm import SlurmOperator
from windrose.transfer import Place, TransferError
from windrose.transfer_places import place_of


class FirecRESTSubmitOperator(SlurmOperator):
    """Submit a script and wait for its end, without a worker's slot: SlurmOperator under the tutorials' names.

    :param system: id of the platform, or name of the machine in the API (templated)
    :param script: the whole script, with its `#SBATCH` lines (templated)
    :param working_dir: folder there in which it runs; it must exist (templated)
    :param account: project that pays (templated); the platform's by default
    """

    def __init__(
        self,
        *,
        system: str,
        script: str,
        working_dir: str = "",
        account: str | None = None,
        **kwargs: Any,  # noqa: ANN401 - SlurmOperator's
    ) -> None:
        super().__init__(platform=system, script=script, workdir=working_dir, account=account, **kwargs)


class FirecRESTTransferOperator(BaseOperator):
    """Copy a file or a folder between the stack's `data/` and a machine; what is there already is not copied again.

    :param system: id of the platform, or name of the machine in the API (templated)
    :param source_path: file or folder (templated)
    :param target_path: file, or a folder that ends with a slash or is there (templated)
    """

    template_fields: Sequence[str] = ("system", "source_path", "target_path")

    def __init__(
        self,
        *,
        system: str,
        source_path: str,
        target_path: str,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.system, self.source_path, self.target_path = system, source_path, target_path

    def ends(self) -> tuple[Place, Place]:
        """Return from where to where."""
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy, show a line a file, and fail where one of them could not be copied."""
        begun = time.monotonic()
        try:
            source, target = self.ends()
            job = transfer.Job(transfer.plan(source, self.source_path, target, self.target_path))
        except TransferError as error:
            raise AirflowFailException(str(error)) from None
        transfer.copy_all(source, target, job, streams=1, tell=self.log.info)
        result = transfer.result_of(job, time.monotonic() - begun)
        for row in result["rows"]:
            self.log.info("%s %s B, %s: %s %s", row["state"], row["bytes"], row["checked"], row["file"], row["says"])
        if result["failed"]:
            context["ti"].xcom_push("return_value", result)
            raise RuntimeError(f"{result['failed']} of {result['files']} files failed. {result['rows'][0]['says']}")
        return result

    def machine(self) -> Place:
        """Return the machine, by its connection or by the task's own environment."""
        from windrose.transfer_firecrest import firecrest_place

        try:
            connection = Connection.get(self.system)
        except AirflowNotFoundException:
            return firecrest_place(None, system=self.system)
        if connection.conn_type != "firecrest":
            raise TransferError(f"{self.system} is of type {connection.conn_type}; name one of type firecrest.")
        return firecrest_place(connection, system=self.system)


class FirecRESTUploadOperator(FirecRESTTransferOperator):
    """Copy a file or a folder from `data/` to a machine."""

    def ends(self) -> tuple[Place, Place]:
        """Return from where to where."""
        return place_of(""), self.machine()


class FirecRESTDownloadOperator(FirecRESTTransferOperator):
    """Copy a file or a folder from a machine to `data/`."""

    def ends(self) -> tuple[Place, Place]:
        """Return from where to where."""
        return self.machine(), place_of("")
