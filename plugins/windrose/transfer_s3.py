"""An S3 store as a place to copy from and to; the store itself checks each part that arrives."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from windrose.transfer import File, Reader, TransferError

PART = 16 * 1024 * 1024
MOST_PARTS = 9000  # the store takes 10000


def s3_place(connection_id: str, extra: dict[str, Any]) -> S3Place:
    """Return the store behind a connection."""
    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config
    except ImportError:
        raise TransferError("S3 needs the provider of packages.txt, which is not installed; run `make up`.") from None
    # Newer checksums are sent only where a request needs one: many stores beside Amazon's do not know them.
    when = "when_required"
    config = Config(request_checksum_calculation=when, response_checksum_validation=when, max_pool_connections=32)
    bucket = extra.get("service_config", {}).get("s3", {}).get("bucket_name", "")
    return S3Place(S3Hook(aws_conn_id=connection_id, config=config).get_conn(), bucket)


class S3Place:
    """A store; a path is a key of the connection's bucket, else bucket/key."""

    keeps_times = False

    def __init__(self, client: Any, bucket: str = "") -> None:  # noqa: ANN401 - boto3 makes its methods as it runs
        """Take a client of boto3, and the bucket where the connection names one."""
        self.client, self.bucket = client, bucket

    def where(self, path: str) -> dict[str, str]:
        """Return bucket and key of a path."""
        if self.bucket:
            return {"Bucket": self.bucket, "Key": path.lstrip("/")}
        bucket, _, key = path.lstrip("/").partition("/")
        if not bucket:
            raise TransferError("the path names no bucket; write bucket/key, or `bucket:` in secrets.yaml.")
        return {"Bucket": bucket, "Key": key}

    def find(self, path: str) -> File | None:
        """Return an object, None where there is none."""
        from botocore.exceptions import ClientError

        where = self.where(path)
        if not where["Key"] or where["Key"].endswith("/"):
            return None
        try:
            found = self.client.head_object(**where)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
        return File(path, found["ContentLength"], found["LastModified"].timestamp())

    def is_folder(self, path: str) -> bool:
        """Say whether there are objects below a path."""
        return next(self.listed(path), None) is not None

    def walk(self, path: str) -> Iterator[File]:
        """Yield all objects below a path."""
        for name, found in self.listed(path):
            if name and not name.endswith("/"):
                yield File(name, found["Size"], found["LastModified"].timestamp())

    def listed(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name below the path, and what the store says of it."""
        where = self.where(path)
        prefix = f"{where['Key'].rstrip('/')}/" if where["Key"].strip("/") else ""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=where["Bucket"], Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", []):
                name = found["Key"].removeprefix(prefix)
                if ".." in name.split("/") or name.startswith("/"):
                    raise TransferError(f"the key {found['Key']} cannot be the name of a file; leave it out.")
                yield name, found

    @contextmanager
    def open(self, path: str, offset: int, size: int) -> Iterator[Reader]:
        """Read an object from an offset."""
        more = {"Range": f"bytes={offset}-"} if offset else {}
        if offset >= size:
            from io import BytesIO

            yield BytesIO()
            return
        body = self.client.get_object(**self.where(path), **more)["Body"]
        try:
            yield body
        finally:
            body.close()

    def writer(self, path: str, source: File) -> S3Writer:
        """Take an object."""
        where = self.where(path)
        if not where["Key"] or where["Key"].endswith("/"):
            raise TransferError(f"{path} names no object; write a name behind the last slash.")
        return S3Writer(self.client, where, source)

    def checksum(self, path: str) -> str | None:
        """Return nothing: reading it again would move it again."""
        return None

    def another(self) -> S3Place:
        """Return the same store: a client may be shared."""
        return S3Place(self.client, self.bucket)

    def close(self) -> None:
        """There is nothing to close."""


class S3Writer:
    """An object that is sent in parts; parts that the store has from an earlier try are not sent again."""

    offset = 0  # all of it is read: a part that is there is known by its checksum

    def __init__(self, client: Any, where: dict[str, str], source: File) -> None:  # noqa: ANN401 - as above
        """Find what an earlier try has left; a small file is sent in one piece."""
        self.client, self.where, self.source = client, where, source
        self.part_size = max(PART, -(-source.size // MOST_PARTS))
        self.waiting = bytearray()
        self.parts: list[dict[str, Any]] = []
        self.there: dict[int, str] = {}
        self.upload = ""
        self.kept = 0  # bytes that were there already
        if source.size > self.part_size:
            self.upload = self.earlier_upload()
            if self.upload:
                self.there = self.earlier_parts()
            else:
                self.upload = client.create_multipart_upload(**where)["UploadId"]

    def earlier_upload(self) -> str:
        """Return the upload of this object that was begun last and never ended, '' where there is none."""
        listed = self.client.list_multipart_uploads(Bucket=self.where["Bucket"], Prefix=self.where["Key"])
        found = [each for each in listed.get("Uploads", []) if each["Key"] == self.where["Key"]]
        return str(max(found, key=lambda each: each["Initiated"])["UploadId"]) if found else ""

    def earlier_parts(self) -> dict[int, str]:
        """Return number -> checksum of the parts that the store has."""
        pages = self.client.get_paginator("list_parts").paginate(**self.where, UploadId=self.upload)
        return {part["PartNumber"]: part["ETag"].strip('"') for page in pages for part in page.get("Parts", [])}

    def write(self, data: bytes) -> None:
        """Add bytes; send what makes a part."""
        self.waiting += data
        while self.upload and len(self.waiting) >= self.part_size:
            self.send_part(bytes(self.waiting[: self.part_size]))
            del self.waiting[: self.part_size]

    def send_part(self, data: bytes) -> None:
        """Send a part, unless the store has it."""
        number, digest = len(self.parts) + 1, hashlib.md5(data, usedforsecurity=False)
        if self.there.get(number) == digest.hexdigest():
            tag = self.there[number]
            self.kept += len(data)
        else:
            answer = self.client.upload_part(
                **self.where, UploadId=self.upload, PartNumber=number, Body=data, ContentMD5=as_text(digest.digest())
            )
            tag = answer["ETag"]
        self.parts.append({"PartNumber": number, "ETag": tag})

    def checksum(self) -> str | None:
        """Send the rest; the store has compared every part with its checksum."""
        if self.upload and self.waiting:
            self.send_part(bytes(self.waiting))
        return "store"

    def finish(self) -> None:
        """Give it its name: until now nobody sees it."""
        if self.upload:
            parts = {"Parts": self.parts}
            self.client.complete_multipart_upload(**self.where, UploadId=self.upload, MultipartUpload=parts)
        else:
            digest = hashlib.md5(self.waiting, usedforsecurity=False).digest()
            self.client.put_object(**self.where, Body=bytes(self.waiting), ContentMD5=as_text(digest))

    def discard(self) -> None:
        """Forget the parts that have arrived."""
        if self.upload:
            self.client.abort_multipart_upload(**self.where, UploadId=self.upload)

    def close(self) -> None:
        """There is nothing to close; parts that have arrived stay for another try."""


def as_text(digest: bytes) -> str:
    """Return a checksum as headers carry it."""
    return base64.b64encode(digest).decode()
