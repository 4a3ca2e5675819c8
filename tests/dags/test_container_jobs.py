"""What DockerJobOperator makes of its arguments, of what a container writes, and of how it ends."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.docker")

from airflow.sdk.exceptions import AirflowFailException
from docker.errors import APIError
from windrose import container_jobs
from windrose.container_log import LINES_AT_THE_END, LONGEST_LINE, JobLog
from windrose.operators.docker import DockerJobOperator


def task_instance(**changed):
    """Return what the operator reads of a task instance."""
    known = {"dag_id": "a dag", "run_id": "manual__1", "task_id": "run-job", "map_index": -1, "try_number": 1}
    return SimpleNamespace(**{**known, **changed})


def test_name_is_one_for_all_tries_and_another_for_each_mapped_task():
    first = container_jobs.container_name(task_instance())

    assert first == container_jobs.container_name(task_instance(try_number=2))
    assert first.startswith("job-a-dag-run-job-")
    assert len({first, *(container_jobs.container_name(task_instance(map_index=n)) for n in range(3))}) == 4
    assert container_jobs.container_name(task_instance(run_id="manual__2")) != first


def test_labels_say_which_try_of_which_task_it_is():
    assert container_jobs.task_labels(task_instance(try_number=3, map_index=7)) == {
        "windrose.task.dag": "a dag",
        "windrose.task.run": "manual__1",
        "windrose.task.task": "run-job",
        "windrose.task.map": "7",
        "windrose.task.try": "3",
    }


def test_form_values_arrive_as_they_were_written():
    operator = DockerJobOperator(
        task_id="run-job",
        image="example.org/a:1",
        command=["echo $A"],
        entrypoint=["sh", "-cx"],
        environment='{"A": "it\'s \\u003cA\\u003e", "N": 3}',
        mounts='["/data:/in:ro", "job-cache:/cache", "nfs.example.org:/export:/nfs"]',
        cpus="0.5",
        gpus="all",
    )

    settings, host = operator.container_settings(), operator.host_settings()

    assert settings["environment"] == {"A": "it's <A>", "N": "3"}
    assert (settings["entrypoint"], settings["command"]) == (["sh", "-cx"], ["echo $A"])
    assert (host["nano_cpus"], host["device_requests"][0]["Count"]) == (500_000_000, -1)
    assert [(m["Type"], m["Source"], m["Target"], m["ReadOnly"]) for m in host["mounts"]] == [
        ("bind", "/data", "/in", True),
        ("volume", "job-cache", "/cache", False),
        ("volume", "nfs.example.org:/export", "/nfs", False),
    ]


def test_text_as_command_is_run_by_a_shell():
    text = DockerJobOperator(task_id="a", image="a", command="echo a | wc").container_settings()
    words = DockerJobOperator(task_id="a", image="a", command=["echo", "a.sh"]).container_settings()
    own = DockerJobOperator(task_id="a", image="a").container_settings()

    assert (text["entrypoint"], text["command"]) == (["sh", "-c"], ["echo a | wc"])
    assert (words["entrypoint"], words["command"]) == (None, ["echo", "a.sh"])
    assert (own["entrypoint"], own["command"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"environment": {"DB_PASSWORD": "x"}}, "DB_PASSWORD looks like a secret"),
        ({"environment": {"aws_secret_access_key": "x"}}, "looks like a secret"),
        ({"environment": "{"}, "environment is not JSON"),
        ({"environment": "[]"}, "environment is a list; write a dict"),
        ({"mounts": ["/data"]}, "'/data' is not source:/target"),
        ({"mounts": ["/data:in"]}, "is not source:/target"),
        ({"cpus": "many"}, "cpus is 'many'"),
        ({"cpus": 0}, "the least is 0.01"),
        ({"gpus": "-3"}, "gpus is '-3'"),
        ({"mem_limit": ""}, "mem_limit is empty"),
    ],
)
def test_value_that_cannot_be_used_is_told(arguments, sentence):
    operator = DockerJobOperator(task_id="a", image="a", **arguments)

    with pytest.raises(AirflowFailException) as error:
        operator.container_settings()
        operator.host_settings()
    assert sentence in str(error.value)


def test_secret_comes_from_a_connection():
    connection = SimpleNamespace(host="db.example.org", port=5432, login="me", password="s3cret", schema=None)

    found = container_jobs.secret_environment(["data-results"], {"data-results": connection}.__getitem__)

    assert found == {
        "DATA_RESULTS_HOST": "db.example.org",
        "DATA_RESULTS_PORT": "5432",
        "DATA_RESULTS_LOGIN": "me",
        "DATA_RESULTS_PASSWORD": "s3cret",
        "DATA_RESULTS_SCHEMA": "",
    }


def written(pieces, limit=100_000):
    """Return the lines of a log, and what it says the last one is."""
    lines = []
    log = JobLog(lines.append, limit)
    for piece in pieces:
        log.add(piece)
    return log.close(), lines


def test_lines_are_whole_whatever_pieces_they_come_in():
    text = "grüße\n\nprogress 1\rprogress 2\nno end".encode()

    last, lines = written([text[n : n + 1] for n in range(len(text))])

    assert (last, lines) == ("no end", ["grüße", "", "progress 2", "no end"])


def test_errors_and_output_do_not_mix_within_a_line():
    lines = []
    log = JobLog(lines.append, 100_000)

    log.add(b"the re")
    log.add(None, b"+ echo the result\n")
    log.add(b"sult\n", b"bye")

    assert (log.close(), lines) == ("the result", ["+ echo the result", "the result", "bye"])


def test_too_much_is_cut_and_ends_with_the_last_lines():
    last, lines = written([b"".join(b"line %d\n" % n for n in range(10_000))], limit=50_000)

    assert last == "line 9999"
    assert lines[0] == "line 0"
    assert "lines are left out here" in lines[-LINES_AT_THE_END - 1]
    assert lines[-LINES_AT_THE_END:] == [f"line {n}" for n in range(10_000 - LINES_AT_THE_END, 10_000)]
    assert len(lines) < 200


def test_line_without_an_end_takes_no_memory():
    log = JobLog(lambda line: None, 1000)

    for _ in range(1000):
        log.add(b"x" * 10_000)

    assert len(log.begun[0]) <= LONGEST_LINE
    assert log.size > 9_000_000


@pytest.mark.parametrize(
    ("code", "state", "sentence"),
    [
        (137, {"OOMKilled": True}, "the job ran out of memory (limit 64m); raise mem_limit"),
        (1, {"OOMKilled": True}, "the job ran out of memory (limit 64m); raise mem_limit"),
        (137, {"OOMKilled": False}, "the job was ended by signal 9 (code 137)"),
        (127, {"Error": ""}, "the job ended with code 127: its command was not found or cannot run"),
        (3, {}, "the job ended with code 3; its log says why"),
    ],
)
def test_end_is_told_plainly(code, state, sentence):
    assert container_jobs.reason(code, state, "64m") == sentence


def api_error(status, message):
    """Return an error of the engine."""
    return APIError(message, SimpleNamespace(status_code=status), message)


@pytest.mark.parametrize(
    ("status", "message", "final"),
    [
        (403, "docker-proxy: image other:1: JOB_IMAGES in .env does not allow it", True),
        (404, "No such image: a:1", True),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', True),
        (500, "error while mounting volume", False),
        (409, "Conflict. The container name is already in use", False),
    ],
)
def test_retry_is_left_out_where_it_cannot_help(status, message, final):
    found = container_jobs.explained(api_error(status, message), "a:1")

    assert isinstance(found, AirflowFailException) is final
    assert "docker-proxy:" not in str(found)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([{"error": "manifest for a:1 not found: manifest unknown"}], AirflowFailException),
        ([{"error": "dial tcp: i/o timeout"}], RuntimeError),
    ],
)
def test_image_that_cannot_be_pulled_is_told(lines, kind):
    cli = SimpleNamespace(images=lambda name: [], pull=lambda image, **_: iter(lines))

    with pytest.raises(kind, match="image a:1 is not here and cannot be pulled"):
        container_jobs.ensure_image(cli, "a:1", SimpleNamespace(info=print), pull=False)


def test_missing_proxy_is_told_at_once_and_a_restarting_one_waited_for(tmp_path):
    with pytest.raises(AirflowFailException, match="set JOB_IMAGES in .env"):
        container_jobs.need_proxy(str(tmp_path / "none"))
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        with pytest.raises(RuntimeError, match="does not answer"):
            container_jobs.need_proxy(path, patience=0.1)
        server.listen()
        container_jobs.need_proxy(path)


def test_operator_can_be_stored_with_its_dag():
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("a", schedule=None) as dag:
        DockerJobOperator(task_id="run-job", image="a:1", mounts=["job-a:/a"])

    assert json.dumps(DagSerialization.to_dict(dag))
