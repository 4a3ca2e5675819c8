"""Do the three operators of FirecREST's tutorials do what their names say? Against a server of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException
from windrose.operators.firecrest import FirecRESTDownloadOperator, FirecRESTSubmitOperator, FirecRESTUploadOperator
from windrose.operators.slurm import SlurmOperator

from tests.dags.firecrest_site import local_site

FOUR = ("FIRECREST_URL", "AUTH_TOKEN_URL", "FIRECREST_CLIENT_ID", "FIRECREST_CLIENT_SECRET")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDROSE_EMBEDDED", str(tmp_path / "clone" / ".windrose" / "embedded"))
    for name in FOUR:
        monkeypatch.delenv(name, raising=False)
    with local_site(tmp_path / "slurm") as (found, _):
        yield found


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "clone" / "data"
    folder.mkdir(parents=True)
    return folder


def copy_there_and_back(system, site, data):
    (data / "in").write_bytes(b"\0\xffdata")
    far = f"{site.scratch}/far"
    sent = FirecRESTUploadOperator(task_id="a", system=system, source_path="data/in", target_path=far).execute({})
    back = FirecRESTDownloadOperator(task_id="b", system=system, source_path=far, target_path="data/out").execute({})
    assert (sent["copied"], back["copied"]) == (1, 1)
    assert (data / "out").read_bytes() == Path(far).read_bytes() == b"\0\xffdata"


def test_files_are_copied_to_and_from_a_platform(site, data, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HPC_API", site.connection_json())

    copy_there_and_back("hpc_api", site, data)


def test_the_tasks_own_environment_says_who_we_are_where_no_platform_does(site, data, monkeypatch):
    operator = FirecRESTUploadOperator(task_id="a", system="demo", source_path="data/in", target_path="/x")
    with pytest.raises(AirflowFailException, match="FIRECREST_URL"):
        operator.execute({})

    # Made before, and read now.
    values = (site.url, site.token_url, site.client_id, site.client_secret)
    for name, value in zip(FOUR, values, strict=True):
        monkeypatch.setenv(name, value)

    copy_there_and_back("demo", site, data)


def test_platform_of_another_type_is_refused(site, data, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HPC", '{"conn_type": "ssh", "host": "h"}')

    operator = FirecRESTDownloadOperator(task_id="a", system="hpc", source_path="/x", target_path="data/x")
    with pytest.raises(AirflowFailException, match="hpc is of type ssh; name one of type firecrest"):
        operator.execute({})


def test_file_that_is_not_there_fails_at_once(site, data, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HPC_API", site.connection_json())

    operator = FirecRESTDownloadOperator(
        task_id="a", system="hpc_api", source_path=f"{site.scratch}/no", target_path="data/x"
    )
    with pytest.raises(AirflowFailException, match="neither a file nor a folder at the source"):
        operator.execute({})


def test_submit_is_the_slurm_operator_under_the_tutorials_names():
    operator = FirecRESTSubmitOperator(
        task_id="a", system="hpc-api", script="#!/bin/bash\ntrue\n", working_dir="/scratch/x", account="p", time="1:00"
    )

    assert isinstance(operator, SlurmOperator)
    assert (operator.platform, operator.script, operator.workdir, operator.account, operator.time) == (
        "hpc-api",
        "#!/bin/bash\ntrue\n",
        "/scratch/x",
        "p",
        "1:00",
    )
