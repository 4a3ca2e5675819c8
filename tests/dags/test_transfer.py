"""Files between a folder and real SSH servers: all of them, once, and whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("airflow.providers.ssh")
from airflow.providers.ssh.hooks.ssh import SSHHook  # noqa: E402 - only where Airflow is installed
from windrose import transfer, transfer_places, transfer_s3  # noqa: E402
from windrose.transfer import (  # noqa: E402
    Job,
    Mismatch,
    TransferError,
    copy_all,
    copy_file,
    plan,
    result_of,
)
from windrose.transfer_places import LocalPlace, SshPlace  # noqa: E402

from tests.ssh_site import Site  # noqa: E402
from tests.transfer_support import BIG, OLD, begin, contents, copied, counts, write  # noqa: E402


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
def stack(tmp_path) -> LocalPlace:
    (tmp_path / "data").mkdir()
    return LocalPlace(tmp_path / "data")


@pytest.fixture
def far(tmp_path) -> Path:
    (tmp_path / "far").mkdir()
    return tmp_path / "far"


def platform(site, **options) -> SshPlace:
    hook = SSHHook(
        remote_host="127.0.0.1",
        username="maija",
        key_file=str(site.folder / "key"),
        port=site.ports["ssh"],
        no_host_key_check=True,
    )
    return SshPlace(hook, **options)


@pytest.fixture
def ssh(site) -> Iterator[SshPlace]:
    place = platform(site)
    yield place
    place.close()


def test_folder_goes_to_a_platform_and_back_with_times_and_whether_it_runs(stack, ssh, far):
    files = {"a.txt": b"a", "deep/er/b c.bin": BIG, "deep/empty": b"", "ä'$(x)": b"odd"}
    for name, data in files.items():
        write(stack.root / "in" / name, data)
    (stack.root / "in" / "a.txt").chmod(0o777)
    (stack.root / "in" / "link").symlink_to("a.txt")

    there = copied(stack, "in", ssh, far / "out")
    back = copied(ssh, far / "out", stack, "back", streams=4)

    assert (counts(there), counts(back), there["bytes"]) == ({"copied": 4}, {"copied": 4}, len(BIG) + 4)
    assert contents(far / "out") == contents(stack.root / "back") == files
    found = (far / "out" / "a.txt").stat()
    assert (int(found.st_mtime), oct(found.st_mode)[-3:]) == (OLD, "755")
    assert {row["checked"] for row in [*there["rows"], *back["rows"]]} == {"sha256"}
    assert there["rows"][0]["sha256"] == hashlib.sha256(BIG).hexdigest()


def test_second_time_only_what_has_changed_is_copied(stack, ssh, far):
    for name in ("same", "longer", "newer"):
        write(stack.root / "in" / name)
    copied(stack, "in", ssh, far)
    write(stack.root / "in" / "longer", b"longer")
    write(stack.root / "in" / "newer", b"atad", modified=OLD + 60)

    again = copied(stack, "in", ssh, far)

    assert (counts(again), contents(far)) == (
        {"copied": 2, "skipped": 1},
        {"same": b"data", "longer": b"longer", "newer": b"atad"},
    )


def test_platform_to_platform_streams_through(site, ssh, far, tmp_path):
    write(far / "big", BIG)

    result = copied(ssh, far / "big", platform(site), tmp_path / "other" / "big")

    assert (counts(result), (tmp_path / "other" / "big").read_bytes() == BIG) == ({"copied": 1}, True)


@pytest.mark.parametrize("way", ["there", "back", "over there"])
def test_broken_copy_goes_on_behind_the_last_byte(way, stack, site, ssh, far, tmp_path):
    source, target = {"there": (stack, ssh), "back": (ssh, stack), "over there": (ssh, platform(site))}[way]
    source_file = write((stack.root if source is stack else far) / "big", BIG)
    target_file = (stack.root if target is stack else tmp_path / "over") / "copy" / "big"
    begin(target_file, BIG[: 2 * 1024 * 1024], of=source_file)

    source_path = "big" if source is stack else source_file
    result = copied(source, source_path, target, "copy/big" if target is stack else target_file)

    row = result["rows"][0]
    assert (counts(result), result["bytes"], row["checked"]) == (
        {"resumed": 1},
        len(BIG) - 2 * 1024 * 1024,
        "sha256",
    )
    assert contents(target_file.parent) == {"big": BIG}


def test_beginning_of_an_older_version_is_not_gone_on_with(stack, ssh, far):
    source = write(stack.root / "big", BIG)
    begin(far / "big", b"old" * 1000, of=source)
    write(stack.root / "big", BIG, modified=OLD + 5)

    assert counts(copied(stack, "big", ssh, far / "big")) == {"copied": 1}
    assert (far / "big").read_bytes() == BIG


@pytest.mark.parametrize("way", ["there", "back"])
def test_wrong_beginning_is_found_by_its_checksum_and_deleted(way, stack, ssh, far):
    source, target = (stack, ssh) if way == "there" else (ssh, stack)
    source_file = write((stack.root if source is stack else far) / "in" / "big", BIG)
    target_file = (stack.root if target is stack else far) / "out"
    begin(target_file, b"x" * 1024, of=source_file)
    paths = ("in/big", target_file) if source is stack else (source_file, "out")

    first, second = copied(source, paths[0], target, paths[1]), copied(source, paths[0], target, paths[1])

    assert (counts(first), counts(second)) == ({"failed": 1}, {"copied": 1})
    assert "has another checksum at the target" in first["rows"][0]["says"]
    assert target_file.read_bytes() == BIG


def test_source_that_shrinks_meanwhile_leaves_nothing_under_the_real_name(stack, far, ssh):
    write(far / "a", b"12345")
    file = ssh.find(str(far / "a"))
    write(far / "a", b"123")

    with pytest.raises((Mismatch, OSError)):
        copy_file(ssh, stack, file, "a", count=lambda _: None)

    assert "a" not in contents(stack.root)


def test_platform_without_a_shell_has_sizes_to_compare(site, stack, far):
    write(stack.root / "a", BIG)
    place = platform(site, has_shell=False)

    result = copied(stack, "a", place, f"{far}/")

    assert ([row["checked"] for row in result["rows"]], (far / "a").read_bytes() == BIG) == (["size"], True)
    place.close()


def test_file_goes_into_a_folder_or_gets_a_new_name(stack, ssh, far):
    write(stack.root / "a")
    (far / "folder").mkdir()

    for target in ("folder", "other/", "new"):
        copied(stack, "a", ssh, f"{far}/{target}")

    assert sorted(contents(far)) == ["folder/a", "new", "other/a"]


@pytest.mark.parametrize("path", ["../secret", "in/../../secret", "/../secret", "link/secret"])
def test_path_out_of_data_is_refused(stack, path):
    write(stack.root.parent / "secret")
    (stack.root / "in").mkdir()
    (stack.root / "link").symlink_to(stack.root.parent)

    with pytest.raises(TransferError, match=r"leads out of data/"):
        stack.find(path)
    with pytest.raises(TransferError, match=r"leads out of data/"):
        stack.writer(path, transfer.File("x", 1, 1.0))


def test_what_is_not_there_is_told(stack, ssh, far):
    with pytest.raises(TransferError, match="nothing-here is neither a file nor a folder"):
        plan(stack, "nothing-here", ssh, str(far))


def test_file_that_cannot_be_copied_does_not_hold_up_the_others(stack, ssh, far):
    for number in range(5):
        write(stack.root / "in" / f"{number}", b"x" * 100 * (number + 1))
    (far / "4").mkdir()

    result = copied(stack, "in", ssh, far, streams=1)
    (far / "4").rmdir()
    again = copied(stack, "in", ssh, far, streams=1)

    assert (counts(result), counts(again)) == ({"copied": 4, "failed": 1}, {"copied": 1, "skipped": 4})
    assert "is a folder at the target" in result["rows"][0]["says"]


def test_broken_connection_leaves_the_rest_to_the_next_try(stack, site, far):
    for number in range(4):
        write(far / f"{number}", BIG[number:])
    place = platform(site)
    job = Job(plan(place, str(far), stack, "in"))
    moved = job.count

    class Breaking(Job):
        def count(self, size):
            moved(size)
            place.connection.close()

    breaking = Breaking(job.pairs)
    copy_all(place, stack, breaking, streams=1, tell=print)

    result = result_of(breaking, 1.0)
    assert counts(result) == {"failed": 4}
    assert [row["says"].split()[-2:] for row in result["rows"]].count(["any", "more"]) == 3
    assert counts(copied(platform(site), far, stack, "in")) in ({"resumed": 1, "copied": 3}, {"copied": 4})


def test_many_small_files_over_several_streams_are_all_there(stack, ssh, far):
    files = {f"{number % 7}/{number}": os.urandom(number) for number in range(120)}
    for name, data in files.items():
        write(stack.root / "in" / name, data)

    result = copied(stack, "in", ssh, far, streams=4)

    assert (counts(result), contents(far)) == ({"copied": 120}, files)


def test_memory_stays_small_while_a_large_file_passes(stack, ssh, far):
    import tracemalloc

    write(stack.root / "big", os.urandom(1024 * 1024) * 40)
    copied(stack, "big", ssh, far / "one")
    tracemalloc.start()
    copied(ssh, far / "one", stack, "two")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 25 * 1024 * 1024


def test_places_are_what_the_form_names(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_HPC_X", '{"conn_type": "ssh", "host": "127.0.0.1", "login": "u"}')
    monkeypatch.setenv("AIRFLOW_CONN_WEB", '{"conn_type": "http", "host": "example.org"}')
    monkeypatch.setenv("AIRFLOW_CONN_STORE", '{"conn_type": "aws", "login": "a", "password": "b"}')
    monkeypatch.setenv("WINDROSE_EMBEDDED", str(tmp_path / "clone" / ".windrose" / "embedded"))

    assert isinstance(transfer_places.place_of(""), LocalPlace)
    assert isinstance(transfer_places.place_of("hpc_x"), SshPlace)
    assert isinstance(transfer_places.place_of("store"), transfer_s3.S3Place)
    with pytest.raises(TransferError, match="web is of type http; files are copied over ssh, sftp, s3 and firecrest"):
        transfer_places.place_of("web")


def test_second_connection_has_a_way_over_the_jump_host_of_its_own(ssh):
    ssh.hook.__dict__["host_proxy"] = "the pipe of the first connection"

    assert "host_proxy" not in ssh.another().hook.__dict__


def test_two_runs_do_not_write_one_file_together(stack, ssh, far):
    write(far / "one", b"0123456789")
    source = ssh.find(str(far / "one"))
    first = stack.writer("one", source)
    first.write(b"01234")

    with pytest.raises(TransferError, match="is being copied by another run"):
        stack.writer("one", source)
    first.close()
    stack.writer("one", source).close()


@pytest.mark.parametrize("path", ["in/a", "/in/a", "data/in/a", "/data/in/a", "/opt/airflow/data/in/a"])
def test_data_may_be_named_as_people_and_tasks_name_it(stack, path):
    write(stack.root / "in" / "a", b"1")

    assert stack.find(path) is not None
    assert stack.is_folder("data")
