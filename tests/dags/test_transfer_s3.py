"""Files to an S3 store and back, over real HTTP: each part checked, none sent twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("airflow.providers.amazon")
from windrose import transfer, transfer_s3  # noqa: E402 - only where Airflow is installed
from windrose.transfer import TransferError, passing_name, plan  # noqa: E402
from windrose.transfer_places import LocalPlace  # noqa: E402

from tests.s3_store import Store, s3_store  # noqa: E402
from tests.transfer_support import BIG, OLD, contents, copied, counts, write  # noqa: E402


@pytest.fixture
def stack(tmp_path) -> LocalPlace:
    (tmp_path / "data").mkdir()
    return LocalPlace(tmp_path / "data")


@pytest.fixture
def store() -> Iterator[Store]:
    with s3_store() as store:
        yield store


def s3(store, bucket="") -> transfer_s3.S3Place:
    import boto3
    from botocore.config import Config

    own = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu", "endpoint_url": store.address}
    config = Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return transfer_s3.S3Place(boto3.client("s3", config=config, **own), bucket)


def test_store_takes_a_folder_and_gives_it_back(stack, store):
    files = {"a": b"a", "b/c": BIG, "b/empty": b""}
    for name, data in files.items():
        write(stack.root / "in" / name, data)

    there, again = copied(stack, "in", s3(store), "bucket/x"), copied(stack, "in", s3(store, "bucket"), "x/")
    back = copied(s3(store), "bucket/x", stack, "back")

    assert (counts(there), counts(again), counts(back)) == ({"copied": 3}, {"skipped": 3}, {"copied": 3})
    assert store.objects == {f"bucket/x/{name}": data for name, data in files.items()}
    assert contents(stack.root / "back") == files
    assert {row["checked"] for row in there["rows"]} == {"store"}


def test_parts_that_the_store_has_are_not_sent_again(stack, store, monkeypatch):
    monkeypatch.setattr(transfer_s3, "PART", 1024 * 1024)
    write(stack.root / "big", BIG)
    store.fail_after = 2

    broken = copied(stack, "big", s3(store), "bucket/big")
    seen = "bucket/big" in store.objects
    store.fail_after, store.asked = None, []
    again = copied(stack, "big", s3(store), "bucket/big")

    assert (counts(broken), seen, counts(again)) == ({"failed": 1}, False, {"resumed": 1})
    assert (store.objects["bucket/big"] == BIG, store.asked.count("PUT partNumber uploadId")) == (True, 2)
    assert store.uploads == {}


def test_part_of_another_version_is_sent_again(stack, store, monkeypatch):
    monkeypatch.setattr(transfer_s3, "PART", 1024 * 1024)
    write(stack.root / "big", BIG)
    store.fail_after = 2
    copied(stack, "big", s3(store), "bucket/big")
    store.fail_after = None
    other = os.urandom(len(BIG))
    write(stack.root / "big", other, modified=OLD + 1)

    assert counts(copied(stack, "big", s3(store), "bucket/big")) == {"copied": 1}
    assert store.objects["bucket/big"] == other


def test_download_from_a_store_goes_on_with_the_rest_only(stack, store):
    store.put("bucket/big", BIG)
    place = s3(store)
    source = place.find("bucket/big")
    part = Path(passing_name(str(stack.root / "big"), source))
    part.write_bytes(BIG[:1000])

    result = copied(place, "bucket/big", stack, "big")

    assert (counts(result), result["bytes"], result["rows"][0]["checked"]) == (
        {"resumed": 1},
        len(BIG) - 1000,
        "size",
    )
    assert contents(stack.root) == {"big": BIG}


@pytest.mark.parametrize(
    ("bucket", "path", "said"),
    [("", "", "names no bucket"), ("", "bucket", "names no object"), ("bucket", "x/", "names no object")],
)
def test_path_of_a_store_that_is_incomplete_is_told(store, bucket, path, said):
    with pytest.raises(TransferError, match=said):
        s3(store, bucket).writer(path, transfer.File("x", 1, 1.0))


def test_key_that_leads_out_of_the_folder_is_refused(stack, store):
    store.put("bucket/x/../../etc", b"!")

    with pytest.raises(TransferError, match="cannot be the name of a file"):
        plan(s3(store), "bucket/x", stack, "in")
