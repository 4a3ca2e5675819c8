"""The DAGs for platforms: their tasks in this process, against real servers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.ssh")
from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - only where Airflow is installed
from windrose import platform_list, platform_logins  # noqa: E402

from tests.processes import is_alive  # noqa: E402
from tests.s3_store import s3_store  # noqa: E402
from tests.ssh_site import Site, free_port, public  # noqa: E402

DAGS = Path(__file__).parents[2] / "dags"


class LivingSite(Site):
    """A site whose commands have their input for as long as the connection lives, as sshd's have."""

    async def run_command(self, process):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        environment = {**os.environ, "HOME": str(self.home)}
        started = await asyncio.create_subprocess_shell(
            process.command, **pipes, env=environment, start_new_session=True
        )
        await process.redirect(started.stdin, started.stdout, started.stderr)
        process.exit(await started.wait())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    built = LivingSite(tmp_path_factory.mktemp("site"))
    yield built
    built.close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()


@pytest.fixture
def connect(monkeypatch):
    """Give Airflow a connection."""

    def connect(name, **fields):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
        return {"id": name, "type": {"aws": "s3"}.get(fields["conn_type"], fields["conn_type"])}

    return connect


@pytest.fixture
def login(site, connect):
    """Give Airflow a platform with this key."""

    def login(name="hpc", *, key="", kind="ssh", **extra):
        extra = {"key_file": key or str(site.folder / "key"), "host_key": public(site.host_key), **extra}
        return connect(name, conn_type=kind, host="127.0.0.1", login="maija", port=site.ports["ssh"], extra=extra)

    return login


@pytest.fixture
def web(request) -> Iterator[str]:
    """A web server that answers with one code."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["ssh", "sftp"])
def test_platform_that_lets_us_in_is_ok(login, kind):
    checked = platform_logins.check(login(kind=kind), hours=None)

    assert (checked.state, checked.says, checked.certificate_until) == ("ok", "", "")


def test_certificate_that_soon_ends_is_told_although_the_login_works(site, login):
    key = site.new_certificate("soon", after=time.time() - 3600, before=time.time() + 3600)

    now, later = (platform_logins.check(login(key=key), hours=hours) for hours in (2, 0.5))

    assert (now.state, later.state) == ("expiring", "ok")
    assert now.says.startswith("hpc: the certificate is good until ")
    assert now.certificate_until.endswith(" UTC")


@pytest.mark.parametrize("wrong", ["key", "host key", "port"])
def test_platform_that_does_not_let_us_in_is_told_with_the_command_that_finds_out_why(site, connect, login, wrong):
    site.new_key("stranger")
    if wrong == "key":
        platform = login(key=str(site.folder / "stranger"))
    elif wrong == "host key":
        platform = login(host_key=public(site.authority))
    else:
        platform = connect("hpc", conn_type="ssh", host="127.0.0.1", login="maija", port=free_port())

    checked = platform_logins.check(platform, hours=None)

    assert checked.state == "failed"
    assert checked.says.startswith("hpc: no login (")
    assert checked.says.endswith("; run `make check-platforms PLATFORM=hpc`.")


@pytest.mark.parametrize(
    ("web", "state"),
    [pytest.param(code, state, id=str(code)) for code, state in
     [(200, "ok"), (404, "ok"), (401, "failed"), (403, "failed"), (503, "failed")]],
    indirect=["web"],
)  # fmt: skip
def test_web_service_is_judged_by_its_answer(connect, web, state):
    assert platform_logins.check(connect("hub", conn_type="http", host=web), hours=None).state == state


@pytest.mark.parametrize("bucket", ["", "results"])
def test_store_is_asked_for_its_bucket(connect, bucket):
    with s3_store() as store:
        extra = {"endpoint_url": store.address, "region_name": "eu"}
        if bucket:
            store.put(bucket, b"")
            extra |= {"service_config": {"s3": {"bucket_name": bucket}}}
        platform = connect("store", conn_type="aws", login="a", password="b", extra=extra)

        assert platform_logins.check(platform, hours=None).state == "ok"
    assert platform_logins.check(platform, hours=None).state == "failed"


def test_platform_of_another_type_is_passed_over_with_a_sentence(connect):
    checked = platform_logins.check({"id": "hub", "type": "docker"}, hours=None)

    assert (checked.state, "no login is tried for the type docker" in checked.says) == ("skipped", True)


def test_platforms_are_what_registration_wrote_down(monkeypatch):
    assert platform_list.registered_platforms() == []
    written = [{"id": "hpc-lumi", "type": "ssh"}]
    monkeypatch.setenv("AIRFLOW_VAR_WINDROSE_PLATFORMS", json.dumps(written))

    assert platform_list.registered_platforms() == written
    assert platform_list.choose(written, "hpc-lumi") == platform_list.choose(written, "") == written
    with pytest.raises(ValueError, match=r"hpc-limu is no platform of secrets\.yaml \(registered: hpc-lumi\)"):
        platform_list.choose(written, "hpc-limu")


@pytest.mark.parametrize("name", ["platforms/check", "maintenance/report"])
def test_schedule_waits_for_its_time_and_does_not_run_at_the_start(name):
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    dag = next(iter(DagBag(str(DAGS / f"{name}_dag.py")).dags.values()))
    schedule = dag.timetable
    core = CronTriggerTimetable(
        schedule.expression, timezone=schedule.timezone, run_immediately=schedule.run_immediately
    )

    import pendulum

    first = core.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert first.run_after > pendulum.now("UTC")


def operator(**fields):
    from windrose.operators.platform import PlatformCommandOperator

    return PlatformCommandOperator(task_id="run_command", **fields)


def test_command_returns_its_code_and_its_last_lines(login):
    login()

    assert operator(platform="hpc", command="echo one; echo two >&2").execute({}) == {
        "platform": "hpc",
        "exit_code": 0,
        "lines": 2,
        "last_lines": ["one", "two"],
    }


def test_command_that_fails_keeps_its_result(login):
    from airflow.sdk.exceptions import AirflowFailException

    login()
    pushed = {}

    with pytest.raises(AirflowFailException, match="the command ended with code 3 on hpc"):
        operator(platform="hpc", command="exit 3").execute({"ti": SimpleNamespace(xcom_push=pushed.__setitem__)})

    assert pushed["return_value"]["exit_code"] == 3


@pytest.mark.parametrize("form", [{"platform": "", "command": "true"}, {"platform": "hpc", "command": " \n"}])
def test_empty_form_is_told(form):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="platform or command is empty"):
        operator(**form).execute({})


def test_command_that_takes_too_long_is_ended_over_there(login, tmp_path):
    from airflow.sdk.exceptions import AirflowFailException

    login()

    with pytest.raises(AirflowFailException, match=r"longer than 0\.1 minutes and was ended"):
        operator(platform="hpc", command=f"echo $$ > {tmp_path}/pid; sleep 300", minutes=0.1).execute({})

    pid, end = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_kill_of_the_task_ends_the_command_over_there(login, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from airflow.sdk.exceptions import AirflowFailException

    login()
    task, file = operator(platform="hpc", command=f"echo $$ > {tmp_path}/pid; sleep 300"), tmp_path / "pid"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(task.execute, {})
        while not file.exists() or not file.read_text():
            time.sleep(0.05)

        task.on_kill()

        with pytest.raises(AirflowFailException, match="closed the connection before the command ended"):
            running.result(10)
    pid, end = int(file.read_text()), time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.1)
