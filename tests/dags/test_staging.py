"""Files for a job and from it: between data/, a real SSH server and a store, by the addresses that people write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("airflow.providers.ssh")
from windrose.slurm import staging  # noqa: E402 - only where Airflow is installed
from windrose.slurm.staging import Interrupted, StagingError, stage_in, stage_out  # noqa: E402

from tests.s3_store import s3_store  # noqa: E402
from tests.ssh_site import Site, free_port, public  # noqa: E402
from tests.transfer_support import BIG, begin, contents, write  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    built = Site(tmp_path_factory.mktemp("site"))
    yield built
    built.close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh").mkdir(parents=True)


@pytest.fixture
def connect(site, monkeypatch):
    """Give Airflow the connection of a cluster."""

    def connect(name="hpc", port=0):
        extra = {"key_file": str(site.folder / "key"), "host_key": public(site.host_key)}
        made = {"conn_type": "ssh", "host": "127.0.0.1", "login": "maija", "port": port or site.ports["ssh"]}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({**made, "extra": extra}))

    connect()
    return connect


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """The stack's data/."""
    monkeypatch.setenv("WINDROSE_EMBEDDED", str(tmp_path / "clone" / ".windrose" / "embedded"))
    (tmp_path / "clone" / "data").mkdir(parents=True)
    return tmp_path / "clone" / "data"


@pytest.fixture
def folder(tmp_path, connect) -> Path:
    """A job's folder on the cluster."""
    made = tmp_path / "scratch" / ".windrose" / "token" / "work"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def log(capsys):
    return print


def states(rows):
    return {row["file"]: row["state"] for row in rows}


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        pytest.param("data/a.csv", ["a.csv"], id="file"),
        pytest.param("a.csv", ["a.csv"], id="file without data/"),
        pytest.param(["data/a.csv", "data/in/c.txt"], ["a.csv", "c.txt"], id="files"),
        pytest.param("data/*.csv", ["a.csv", "b.csv"], id="glob"),
        pytest.param("data/[!b].csv", ["a.csv"], id="glob with letters"),
        pytest.param("data/in/**/*.csv", ["deep/er/d.csv", "e.csv"], id="glob of any depth"),
        pytest.param("data/i?", ["in/c.txt", "in/deep/er/d.csv", "in/e.csv"], id="folder whose name is a glob"),
        pytest.param("data/in", ["in/c.txt", "in/deep/er/d.csv", "in/e.csv"], id="folder"),
        pytest.param("data/in/", ["c.txt", "deep/er/d.csv", "e.csv"], id="what a folder holds"),
        pytest.param({"data/*.csv": "tables/"}, ["tables/a.csv", "tables/b.csv"], id="glob into a folder"),
        pytest.param({"data/a.*": "x.csv"}, ["x.csv"], id="glob of one file under a new name"),
        pytest.param({"data/in": "."}, ["c.txt", "deep/er/d.csv", "e.csv"], id="folder into the job's"),
        pytest.param([["data/a.csv", "in/one"], {"b.csv": "two/"}], ["in/one", "two/b.csv"], id="pairs"),
        pytest.param("data/a.csv\n\n b.csv -> two/ \n", ["a.csv", "two/b.csv"], id="lines of a form"),
        pytest.param([], [], id="nothing"),
        pytest.param("", [], id="nothing rendered"),
        pytest.param("data/odd [1].txt", ["odd [1].txt"], id="name that looks like a glob"),
    ],
)
def test_inputs_arrive_where_they_are_asked_for(data, folder, log, asked, arrives):
    for name in ("a.csv", "b.csv", "in/c.txt", "in/deep/er/d.csv", "in/e.csv", "odd [1].txt", ".hidden.csv"):
        write(data / name, name.encode())
    if asked == "data/i?":
        (data / "in").rename(data / "i?")
        arrives = [name.replace("in/", "i?/", 1) for name in arrives]

    rows = stage_in("hpc", asked, str(folder), log)

    assert sorted(contents(folder)) == sorted(arrives)
    assert states(rows) == {f"hpc:{folder}/{name}": "copied" for name in arrives}
    assert {row["checked"] for row in rows} <= {"size"}


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        pytest.param("result.csv", ["jobs/token/result.csv"], id="without a target"),
        pytest.param("*", ["jobs/token/result.csv"], id="glob"),
        pytest.param("**", ["jobs/token/result.csv", "jobs/token/tables/1.csv", "jobs/token/tables/2.csv"], id="deep"),
        pytest.param({"tables/*.csv": "data/out/"}, ["out/1.csv", "out/2.csv"], id="glob into a folder"),
        pytest.param({"tables": "out"}, ["out/1.csv", "out/2.csv"], id="folder"),
        pytest.param({"./result.csv": "data/r.csv"}, ["r.csv"], id="under a new name"),
    ],
)
def test_outputs_arrive_where_they_are_asked_for(data, folder, log, asked, arrives):
    for name in ("result.csv", "tables/1.csv", "tables/2.csv"):
        write(folder / name, name.encode())

    rows = stage_out("hpc", asked, str(folder), log)

    assert sorted(contents(data)) == sorted(arrives)
    assert states(rows) == {f"data/{name}": "copied" for name in arrives}


def test_second_time_nothing_is_copied_and_a_broken_file_goes_on(data, folder, log):
    source = write(data / "big", BIG)
    begin(folder / "big", BIG[: 1024 * 1024], of=source)

    first, second = (stage_in("hpc", "data/big", str(folder), log) for _ in range(2))

    assert [(row["state"], row["bytes"]) for row in (*first, *second)] == [
        ("resumed", len(BIG) - 1024 * 1024),
        ("skipped", 0),
    ]
    assert contents(folder) == {"big": BIG}


def test_whole_paths_on_the_cluster_are_taken_as_they_are(data, folder, log, tmp_path):
    write(data / "a")
    write(tmp_path / "shared" / "r", b"r")

    stage_in("hpc", {"a": f"{tmp_path}/shared/"}, str(folder), log)
    stage_out("hpc", {f"{tmp_path}/shared/*": "data/back/"}, str(folder), log)

    assert contents(data) == {"a": b"data", "back/a": b"data", "back/r": b"r"}
    assert contents(folder) == {}


def test_a_store_is_named_by_its_connection(data, folder, log, monkeypatch):
    with s3_store() as store:
        store.put("bucket/models/v2.bin", b"model")
        extra = {"endpoint_url": store.address, "region_name": "eu"}
        kept = {"conn_type": "aws", "login": "a", "password": "b", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_ALLAS", json.dumps(kept))
        write(folder / "result", b"result")

        inputs = stage_in("hpc", ["allas:bucket/models/v2.bin"], str(folder), log)
        outputs = stage_out("hpc", {"result": "allas:bucket/out/"}, str(folder), log)

    assert contents(folder)["v2.bin"] == b"model"
    assert states([*inputs, *outputs]) == {f"hpc:{folder}/v2.bin": "copied", "allas:bucket/out/result": "copied"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("data/none.csv", r"inputs: data/none.csv is neither a file nor a folder at the source."),
        ("data/*.tsv", "inputs: data/*.tsv finds no file; look at the name, and at what is there."),
        ("data/../secret", "inputs: data/../secret leads out of data/; name a path below it."),
        ({"data/a.csv": "../other/a.csv"}, "inputs: ../other/a.csv leads out of the job's folder; write a whole path"),
        ({"data/*.csv": "x"}, "inputs: data/*.csv finds 2 files; end the target hpc:FOLDER/x with a slash."),
        ({"data/a.csv": "x/../id"}, "inputs: x/../id leads out of the job's folder; write a whole path"),
        (["data/a.csv", {"data/b.csv": "./a.csv"}], "inputs: more than one file would become FOLDER/a.csv; give them"),
        ("nowhere:a", "inputs: there is no platform nowhere; see secrets.yaml and `make connections`."),
        ([["a", "b", "c"]], "inputs: ['a', 'b', 'c'] names no file; write an address, or a source and a target."),
        ([3], "inputs: 3 names no file; write an address, or a source and a target."),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(data, folder, log, asked, says):
    write(data / "a.csv")
    write(data / "b.csv")

    with pytest.raises(StagingError) as caught:
        stage_in("hpc", asked, str(folder), log)

    assert str(caught.value).replace(str(folder), "FOLDER").startswith(says)
    assert contents(folder) == {}


def test_folder_with_a_variable_is_for_the_caller_to_expand(data, log):
    with pytest.raises(StagingError, match="holds a variable"):
        stage_in("hpc", "data/a", "/scratch/$USER/.windrose/token", log)


def test_folder_that_is_made_is_nobody_elses(data, log, connect, tmp_path):
    write(data / "a")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o770)
    folder = scratch / ".windrose" / "token" / "work"

    stage_in("hpc", "data/a", str(folder), log)

    # Others of the project have jobs in the folder above, too.
    assert [place.stat().st_mode & 0o7777 for place in (folder.parent, folder.parent.parent)] == [0o700, 0o1770]
    assert contents(folder) == {"a": b"data"}


def test_output_that_is_not_there_is_told(folder, data, log):
    with pytest.raises(StagingError, match=r"outputs: .*result.csv is neither a file nor a folder"):
        stage_out("hpc", {"result.csv": "data/"}, str(folder), log)


def test_cluster_that_does_not_answer_is_for_another_try(data, folder, log, connect):
    connect(port=free_port())

    with pytest.raises(Interrupted, match=r"outputs: hpc could not be asked \(.*\); the next try goes on\."):
        stage_out("hpc", "out", str(folder), log)


def test_file_that_does_not_arrive_is_named_and_the_others_do(data, folder, log):
    write(data / "in" / "a")
    write(data / "in" / "b", b"longer")
    (folder / "b").mkdir()

    with pytest.raises(
        Interrupted, match="inputs: 1 of 2 files have not arrived. .*/b is a folder at the target"
    ) as told:
        stage_in("hpc", "data/in/", str(folder), log)

    assert sorted(row["state"] for row in told.value.rows) == ["copied", "failed"]
    assert contents(folder) == {"a": b"data"}


@pytest.mark.parametrize(
    ("glob", "name", "is_meant"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "a/b.csv", False),
        ("*.csv", ".a.csv", False),
        (".*", ".a.csv", True),
        ("a?c", "a/c", False),
        ("a[.*]c", "a*c", True),
        ("a[.*]c", "abc", False),
        ("a[!b]c", "a/c", False),
        ("a[]x]c", "a]c", True),
        ("[", "[", True),
        ("a.c", "abc", False),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", ".a/x", False),
        ("a/**", "a/b/c", True),
        ("a/**", "b", False),
        ("*\n", "a\n", True),
    ],
)
def test_globs_mean_what_they_mean_in_a_shell(glob, name, is_meant):
    assert bool(staging.expression(glob.split("/")).fullmatch(name)) == is_meant
