"""A small S3 store for tests: real HTTP, objects in memory, uploads in parts, checksums compared as a store does."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass
class Store:
    """What the store holds, and what it was asked."""

    objects: dict[str, bytes] = field(default_factory=dict)  # "bucket/key"
    changed: dict[str, float] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)  # id -> object, parts
    asked: list[str] = field(default_factory=list)
    fail_after: int | None = None  # so many parts, then the connection breaks
    address: str = ""

    def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        self.objects[name], self.changed[name] = data, datetime.now(UTC).timestamp()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def begin(self) -> tuple[str, dict[str, str], bytes]:
        """Return the object, the question and the body of a request."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.store.asked.append(f"{self.command} {' '.join(sorted(query))}".strip())
        return unquote(parts.path).strip("/"), query, self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, code: int, body: str | bytes = b"", **headers: str) -> None:
        """Send an answer."""
        data = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.get("Length", str(len(data))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        """Describe an object."""
        name, _, _ = self.begin()
        if name not in self.store.objects:
            return self.answer(404)
        changed = formatdate(self.store.changed[name], usegmt=True)
        return self.answer(200, self.store.objects[name], Last_Modified=changed)

    def do_GET(self) -> None:
        """Send an object, or one of the lists."""
        name, query, _ = self.begin()
        if not name:
            return self.answer(200, f"{HEAD}<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
        if "list-type" in query:
            return self.answer(200, self.listing(name, query.get("prefix", "")))
        if "uploads" in query:
            found = [(key, one) for key, (one, _) in self.store.uploads.items()]
            rows = "".join(
                f"<Upload><Key>{one.partition('/')[2]}</Key><UploadId>{key}</UploadId>"
                "<Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>"
                for key, one in found
            )
            return self.answer(200, f"{HEAD}<ListMultipartUploadsResult>{rows}</ListMultipartUploadsResult>")
        if "uploadId" in query:
            parts = self.store.uploads[query["uploadId"]][1]
            rows = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{md5(data)}&quot;</ETag><Size>{len(data)}</Size></Part>"
                for number, data in sorted(parts.items())
            )
            return self.answer(200, f"{HEAD}<ListPartsResult>{rows}<IsTruncated>false</IsTruncated></ListPartsResult>")
        if name not in self.store.objects:
            return self.answer(404, f"{HEAD}<Error><Code>NoSuchKey</Code></Error>")
        data = self.store.objects[name]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return self.answer(206 if wanted else 200, data[int(wanted[1]) :] if wanted else data)

    def listing(self, bucket: str, prefix: str) -> str:
        """Return the list of a bucket's objects."""
        rows = "".join(
            f"<Contents><Key>{name.partition('/')[2]}</Key><Size>{len(data)}</Size><LastModified>"
            f"{datetime.fromtimestamp(self.store.changed[name], UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            for name, data in sorted(self.store.objects.items())
            if name.startswith(f"{bucket}/{prefix}")
        )
        return f"{HEAD}<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"

    def do_POST(self) -> None:
        """Begin or end an upload in parts."""
        name, query, body = self.begin()
        if "uploads" in query:
            key = f"upload-{len(self.store.asked)}"
            self.store.uploads[key] = (name, {})
            return self.answer(
                200,
                f"{HEAD}<InitiateMultipartUploadResult><UploadId>{key}</UploadId></InitiateMultipartUploadResult>",
            )
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        parts = self.store.uploads.pop(query["uploadId"])[1]
        self.store.put(name, b"".join(parts[number] for number in numbers))
        return self.answer(200, f"{HEAD}<CompleteMultipartUploadResult/>")

    def do_PUT(self) -> None:
        """Take an object, or a part of one; refuse one whose checksum is another."""
        name, query, body = self.begin()
        if base64.b64encode(hashlib.md5(body).digest()).decode() != self.headers.get("Content-MD5"):
            return self.answer(400, f"{HEAD}<Error><Code>BadDigest</Code></Error>")
        if "partNumber" not in query:
            self.store.put(name, body)
            return self.answer(200, ETag=f'"{md5(body)}"')
        if self.store.fail_after is not None:
            self.store.fail_after -= 1
            if self.store.fail_after < 0:
                return self.answer(403, f"{HEAD}<Error><Code>AccessDenied</Code></Error>")
        self.store.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
        return self.answer(200, ETag=f'"{md5(body)}"')

    def do_DELETE(self) -> None:
        """Forget an upload."""
        _, query, _ = self.begin()
        self.store.uploads.pop(query["uploadId"])
        self.answer(204)


def md5(data: bytes) -> str:
    """Return the checksum by which a part is known."""
    return hashlib.md5(data).hexdigest()


@contextmanager
def s3_store() -> Iterator[Store]:
    """Run a store."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"store": store}))
    store.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
