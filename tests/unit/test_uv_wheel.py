"""Fetching uv without pip: from the index that pip is configured for, and only the file that was tested."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import uv_wheel
from scripts.settings import ROOT

NAME = f"uv-{uv_wheel.VERSION}-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A package index in a folder, with one small wheel."""
    folder = tmp_path / "index" / "uv"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        archive.writestr(uv_wheel.PROGRAM, "#!/bin/sh\necho uv\n")
    (folder / "index.html").write_text(f'<a href="{NAME}#sha256=00">{NAME}</a>', encoding="utf-8")
    return folder.parent


@pytest.fixture
def address(index: Path) -> Iterator[str]:
    """The same index behind a server that wants a password."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Basic bWU6cCF3":
                self.send_error(401)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(index)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:p%21w@127.0.0.1:{server.server_port}"
    server.shutdown()


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which pip reads no file."""
    return {"PIP_CONFIG_FILE": os.devnull, **more}


def wheel(index: Path) -> tuple[str, str]:
    """Return the wheel of the index, with its right hash."""
    return NAME, hashlib.sha256((index / "uv" / NAME).read_bytes()).hexdigest()


@pytest.mark.parametrize("option", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_uv_comes_from_a_folder_that_is_an_index(index: Path, tmp_path: Path, option: str) -> None:
    program = uv_wheel.ensure(tmp_path / "bin" / "uv", environment(**{option: index.as_uri()}), wheel(index))

    assert os.access(program, os.X_OK)
    assert program.read_text() == "#!/bin/sh\necho uv\n"


def test_uv_comes_from_a_folder_of_wheels(index: Path, tmp_path: Path) -> None:
    (index / "uv" / "index.html").unlink()

    assert uv_wheel.ensure(tmp_path / "uv", environment(PIP_FIND_LINKS=str(index / "uv")), wheel(index)).exists()


def test_password_of_the_address_goes_to_the_server(index: Path, address: str, tmp_path: Path) -> None:
    assert uv_wheel.ensure(tmp_path / "uv", environment(PIP_INDEX_URL=address), wheel(index)).exists()


def test_index_may_answer_in_json(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = json.dumps({"files": [{"url": NAME}]}).encode()
    found = uv_wheel.read
    monkeypatch.setattr(
        uv_wheel, "read", lambda at, s: (page, "application/vnd.pypi.simple.v1+json") if "html" in at else found(at, s)
    )

    assert uv_wheel.ensure(tmp_path / "uv", environment(PIP_INDEX_URL=index.as_uri()), wheel(index)).exists()


def test_another_file_of_that_name_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(uv_wheel.NoWheel, match="is not the file that was tested"):
        uv_wheel.ensure(tmp_path / "uv", environment(PIP_INDEX_URL=index.as_uri()), (NAME, "0" * 64))

    assert not (tmp_path / "uv").exists()


def test_reason_names_no_password(index: Path, address: str, tmp_path: Path) -> None:
    wrong = address.replace("p%21w", "wrong-one")

    with pytest.raises(uv_wheel.NoWheel) as raised:
        uv_wheel.ensure(tmp_path / "uv", environment(PIP_INDEX_URL=wrong), wheel(index))

    assert "gives no answer" in str(raised.value) and "wrong-one" not in str(raised.value)


def test_without_an_index_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(uv_wheel.NoWheel, match="no package index is configured"):
        uv_wheel.ensure(tmp_path / "uv", environment(), (NAME, ""))


def test_version_is_the_one_of_the_requirements() -> None:
    text = (ROOT / "scripts" / "requirements.txt").read_text(encoding="utf-8")

    assert re.search(rf"^uv=={re.escape(uv_wheel.VERSION)}\b", text, flags=re.MULTILINE)
    assert all(uv_wheel.VERSION in name and len(digest) == 64 for name, digest in uv_wheel.WHEELS.values())
