"""Are files copied to and from a platform behind FirecREST whole, small and large ones? Against a server of ours."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from windrose import transfer, transfer_firecrest, transfer_places
from windrose.slurm.model import AccessError
from windrose.transfer import TransferError
from windrose.transfer_firecrest import FirecrestPlace, firecrest_place
from windrose.transfer_places import LocalPlace

from tests.dags.firecrest_site import local_site
from tests.firecrest_state import Fault

LARGE = 9 * 1024 * 1024 + 5  # more than the server takes in one request, in more than one part


@pytest.fixture
def site(tmp_path):
    with local_site(tmp_path / "slurm") as (found, _):
        yield found


@pytest.fixture
def there(site):
    place = FirecrestPlace(site.connection())
    yield place
    place.close()


@pytest.fixture
def here(tmp_path):
    (tmp_path / "data").mkdir()
    return LocalPlace(tmp_path / "data")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(transfer_firecrest, "PAUSES", (0.05,))


def copied(source, source_path, target, target_path):
    job = transfer.Job(transfer.plan(source, source_path, target, target_path))
    for file, path in job.pairs:
        job.rows.append(transfer.copy_file(source, target, file, path, count=job.count))
    return [(row.state, row.checked) for row in job.rows]


@pytest.mark.parametrize("size", [0, 1, 2_000_000, LARGE])
def test_file_goes_there_and_back_as_it_is(site, here, there, size):
    data = os.urandom(size)
    path = here.root / "in"
    path.write_bytes(data)
    path.chmod(0o755)
    far = f"{site.scratch}/new/folder/out"

    sent = copied(here, "in", there, far)
    back = copied(there, far, here, "back")

    assert (sent, back) == ([("copied", "sha256")], [("copied", "sha256")])
    assert (here.root / "back").read_bytes() == data == Path(far).read_bytes()
    assert Path(far).stat().st_mode & 0o777 == 0o755
    assert (site.state.count("transfer/") > 0) == (size == LARGE)


def test_second_copy_moves_nothing(site, here, there):
    (here.root / "in").write_bytes(b"data")
    os.utime(here.root / "in", (time.time() - 10, time.time() - 10))
    copied(here, "in", there, f"{site.scratch}/out")

    assert copied(here, "in", there, f"{site.scratch}/out") == [("skipped", "size and time")]


def test_folder_is_walked_without_links_and_what_still_grows(site, here, there):
    for name in ("a", "b/c", "b/.hidden", ".d.0123abcd.part"):
        path = Path(site.scratch, "set", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    Path(site.scratch, "set", "link").symlink_to("a")

    found = {file.path for file in there.walk(f"{site.scratch}/set")}
    copied(there, f"{site.scratch}/set", here, "set")

    assert found == {"a", "b/c", "b/.hidden"}
    assert (here.root / "set" / "b" / "c").read_bytes() == b"b/c"


def test_relative_paths_begin_where_a_login_arrives(site, there):
    (Path(site.scratch) / "me").mkdir()
    (Path(site.scratch) / "me" / "mine").write_bytes(b"1")

    assert there.find("mine").size == 1
    assert there.find("~/mine").size == 1
    assert there.is_folder("")
    assert there.find("nothing") is None


def damage(monkeypatch, data):
    """Let something else arrive than what was sent."""
    put = transfer_firecrest.Files.write
    monkeypatch.setattr(transfer_firecrest.Files, "write", lambda self, folder, name, _: put(self, folder, name, data))


def test_file_that_arrives_cut_is_deleted_and_told(site, here, there, monkeypatch):
    (here.root / "in").write_bytes(b"0123456789")
    damage(monkeypatch, b"01")

    with pytest.raises(TransferError, match="only 2 of 10 bytes arrived; is the disk full"):
        copied(here, "in", there, f"{site.scratch}/out")

    assert not Path(site.scratch, "out").exists()


def test_file_that_arrives_changed_is_deleted_and_told(site, here, there, monkeypatch):
    (here.root / "in").write_bytes(b"0123456789")
    damage(monkeypatch, b"x" * 10)

    with pytest.raises(TransferError, match="another checksum"):
        copied(here, "in", there, f"{site.scratch}/out")

    assert not Path(site.scratch, "out").exists()


def test_transfer_whose_job_fails_is_told_with_its_log(site, here, there):
    (here.root / "in").write_bytes(os.urandom(LARGE))
    row = {"jobId": "7", "name": "Transfer", "status": {"state": "FAILED"}}
    site.state.faults.append(Fault(r"GET /compute/demo/jobs/\w+", status=200, body={"jobs": [row]}))

    with pytest.raises(TransferError, match=r"the transfer \(job \w+\) ended as FAILED; see /dev/null there"):
        copied(here, "in", there, f"{site.scratch}/out")


def test_store_that_breaks_is_told_without_its_address(site, here, there):
    (here.root / "in").write_bytes(os.urandom(LARGE))
    site.state.faults.append(Fault("PUT /s3/", status=403, times=9))

    with pytest.raises(TransferError, match="the store beside the API failed") as caught:
        copied(here, "in", there, f"{site.scratch}/out")

    assert "s3/" not in str(caught.value)


def test_server_without_a_store_takes_small_files_only(site, here, there):
    (here.root / "in").write_bytes(os.urandom(LARGE))
    described = {"systems": [{"name": "demo", "fileSystems": [], "dataOperation": {"data_transfer": None}}]}
    site.state.faults.append(Fault("GET /status/systems", status=200, body=described))

    with pytest.raises(TransferError, match="has no store for files of more than 1024 KB; copy them over SSH"):
        copied(here, "in", there, f"{site.scratch}/out")


def test_what_the_server_does_not_let_us_do_is_a_sentence(site, there):
    site.state.faults.append(Fault("ops/stat", status=403, body={"message": "no"}))

    with pytest.raises(TransferError, match="ask those who gave it to you"):
        there.find(f"{site.scratch}/x")


def test_another_place_has_connections_of_its_own_and_closing_twice_is_fine(there):
    other = there.another()

    assert other.files is not there.files
    other.close()
    other.close()


def test_platform_of_the_form_is_a_place(site, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HPC_API", site.connection_json())

    place = transfer_places.place_of("hpc_api", checksums=False)

    assert isinstance(place, FirecrestPlace)
    assert place.checksum(f"{site.scratch}") is None
    place.close()


def test_connection_that_says_too_little_is_told(monkeypatch):
    monkeypatch.delenv("FIRECREST_URL", raising=False)

    with pytest.raises(TransferError, match="`address` .FIRECREST_URL."):
        firecrest_place(None, system="x")
    with pytest.raises(AccessError):
        FirecrestPlace(None, system="x")
