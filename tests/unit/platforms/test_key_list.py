from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from scripts.errors import KitError
from scripts.platforms import key_list
from scripts.platforms.plan import Key, Phrase, PhraseSource
from tests import ssh_key_support as kit
from tests.keys_support import Stack


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "people" / "ada"
    kit.put(home / ".ssh/hpc", kit.private(kit.any_key("ed25519")))
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    return kit.put(tmp_path / "windrose/secrets.yaml", b"")


def key_at(path: Path | None, phrase: Phrase | None = None, name: str = "hpc") -> Key:
    return Key(name, f"{name}-ssh", path, phrase or Phrase(), 7)


def phrase(source: PhraseSource, file: Path | None = None) -> Phrase:
    return Phrase(source, SecretStr(kit.PHRASE), file)


def written(folder: Path) -> Any:
    return json.loads((folder / "keys.json").read_text())


def test_list_names_files_and_where_phrases_come_from_but_no_phrase(home: Path, secrets_file: Path) -> None:
    file, folder = home / ".ssh/hpc", secrets_file.parent / "keys"
    sources: list[PhraseSource] = ["none", "literal", "file", "environment", "command"]
    keys = [key_at(file, phrase(one, home / "phrases/one" if one == "file" else None), one) for one in sources]
    (home / "phrases").mkdir()

    key_list.write([*keys, key_at(None, name="elsewhere")], secrets_file, folder, None)

    expected = {
        "none": {"source": "none"},
        "literal": {"source": "secrets.yaml", "key": "literal"},
        "file": {"source": "file", "path": str(home / "phrases/one")},
        "environment": {"source": "asked"},
        "command": {"source": "asked"},
    }
    assert written(folder) == {
        "version": 1,
        "secrets_file": str(secrets_file),
        "links": {},
        "keys": [{"target": f"{name}-ssh", "file": str(file), "phrase": how} for name, how in expected.items()],
    }
    assert ((folder / "keys.json").stat().st_mode & 0o777, kit.PHRASE in (folder / "keys.json").read_text()) == (
        0o600,
        False,
    )


def test_list_is_written_only_when_it_changes(home: Path, secrets_file: Path) -> None:
    folder = secrets_file.parent / "keys"
    inodes = []
    for keys in ([key_at(home / ".ssh/hpc")], [key_at(home / ".ssh/hpc")], []):
        key_list.write(keys, secrets_file, folder, None)
        inodes.append((folder / "keys.json").stat().st_ino)

    assert (inodes[0] == inodes[1], inodes[1] == inodes[2]) == (True, False)
    assert ([path.name for path in folder.iterdir()], written(folder)["keys"]) == (["keys.json"], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_list_belongs_to_the_service_when_root_writes_it(home: Path, secrets_file: Path) -> None:
    folder = secrets_file.parent / "keys"

    key_list.write([key_at(home / ".ssh/hpc")], secrets_file, folder, 1001)

    assert [path.stat().st_uid for path in (folder, folder / "keys.json")] == [1001, 1001]


def test_folders_are_mounted_once_and_none_inside_another(home: Path, secrets_file: Path) -> None:
    one, two = kit.put(home / ".ssh/team/one", b""), kit.put(home / "keys/two", b"")
    keys = [key_at(home / ".ssh/hpc"), key_at(home / ".ssh/hpc"), key_at(one), key_at(two), key_at(None)]

    assert key_list.mounts(keys, secrets_file) == [home / ".ssh", home / "keys"]


def test_phrases_are_mounted_where_the_service_may_need_them(home: Path, secrets_file: Path) -> None:
    filed = phrase("file", kit.put(home / "phrases/one", b""))
    file = home / ".ssh/hpc"

    found = [
        key_list.mounts([key_at(file, one)], secrets_file) for one in (filed, phrase("literal"), phrase("command"))
    ]

    assert found == [[home / ".ssh", home / "phrases"], [home / ".ssh", secrets_file], [home / ".ssh"]]


def test_every_step_of_a_chain_of_links_is_mounted(home: Path, secrets_file: Path, tmp_path: Path) -> None:
    real = kit.put(tmp_path / "store/v1/hpc", b"")
    (tmp_path / "store/current").symlink_to("v1")
    (tmp_path / "middle").mkdir()
    (tmp_path / "middle/hpc").symlink_to(tmp_path / "store/current/hpc")
    (home / ".ssh/linked").symlink_to("../../../middle/hpc")
    (home / ".ssh/linked-cert.pub").symlink_to(tmp_path / "nowhere/hpc-cert.pub")

    found = key_list.mounts([key_at(home / ".ssh/linked")], secrets_file)

    assert (found, real.is_file()) == ([tmp_path / "middle", home / ".ssh", tmp_path / "store"], True)


def test_linked_home_is_named_by_its_real_folder(home: Path, secrets_file: Path, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("people")
    (home / ".ssh/again").symlink_to(tmp_path / "home/ada/.ssh/hpc")
    keys = [key_at(tmp_path / "home/ada/.ssh/hpc"), key_at(tmp_path / "home/ada/.ssh/again", name="again")]

    found = key_list.key_list(keys, secrets_file)

    # A home's own link is not mounted but told: only its folder would show it.
    assert [one["file"] for one in found["keys"]] == [str(home / ".ssh/hpc"), str(home / ".ssh/again")]
    assert (found["links"], key_list.mounts(keys, secrets_file)) == (
        {str(tmp_path / "home"): "people"},
        [home / ".ssh"],
    )


def test_service_finds_every_key_in_what_is_mounted(home: Path, secrets_file: Path, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("people")
    store = kit.put(tmp_path / "store/hpc", kit.private(kit.any_key("rsa")))
    (home / ".ssh/again").symlink_to(tmp_path / "home/ada/.ssh/hpc")
    (home / ".ssh/stored").symlink_to(store)
    names = {"hpc": "ed25519", "again": "ed25519", "stored": "rsa"}
    keys = [key_at(tmp_path / "home/ada/.ssh" / name, name=name) for name in names]
    stack = Stack(tmp_path / "stack")
    key_list.write(keys, secrets_file, Path(stack.keeper.places.key_list).parent, None)
    for folder in key_list.mounts(keys, secrets_file):
        copy_links_too(folder, stack.host / folder.relative_to("/"))

    stack.wait()

    assert stack.copies() == {f"{name}-ssh": kit.half(kit.any_key(kind)) for name, kind in names.items()}


def copy_links_too(folder: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_symlink():
            (to / path.name).symlink_to(os.readlink(path))
        else:
            kit.put(to / path.name, path.read_bytes())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/windrose-key-that-nobody-has",
            "key hpc: /windrose-key-that-nobody-has leads to a file right below /; "
            "move it into a folder of its own, such as ~/.ssh.",
        ),
        (
            "/nowhere/at/all/key",
            "key hpc: the folder of /nowhere/at/all/key does not exist; write where it lies, or make the folder.",
        ),
    ],
)
def test_folder_that_cannot_be_mounted_is_refused(home: Path, secrets_file: Path, path: str, expected: str) -> None:
    with pytest.raises(KitError) as caught:
        key_list.mounts([key_at(Path(path))], secrets_file)

    assert str(caught.value) == f"secrets.yaml line 7: {expected}"
