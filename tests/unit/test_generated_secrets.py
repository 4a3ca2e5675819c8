from __future__ import annotations

from pathlib import Path

import pytest

from scripts import generated_secrets
from scripts.errors import KitError, Problems

NAMES = [secret.name for secret in generated_secrets.SECRETS]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(generated_secrets, "FOLDER", tmp_path / "secrets")
    return tmp_path / "secrets"


def ensure(*, database_exists: bool) -> None:
    generated_secrets.ensure(uid=50000, database_exists=database_exists)


def values(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_first_time_makes_every_secret_for_its_owner_alone(folder: Path) -> None:
    ensure(database_exists=False)

    assert sorted(values(folder)) == sorted(NAMES)
    assert len(set(values(folder).values())) == len(NAMES)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_second_time_changes_nothing(folder: Path) -> None:
    ensure(database_exists=False)
    before = values(folder)

    ensure(database_exists=True)

    assert values(folder) == before


def test_killed_first_time_is_completed_without_changing_what_was_made(folder: Path) -> None:
    ensure(database_exists=False)
    before = values(folder)
    for name in NAMES[3:]:
        (folder / name).unlink()

    ensure(database_exists=False)

    assert {name: values(folder)[name] for name in NAMES[:3]} == {name: before[name] for name in NAMES[:3]}
    assert sorted(values(folder)) == sorted(NAMES)


@pytest.mark.parametrize("name", ["database_password", "fernet_key", "admin_password"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_secret_that_the_database_needs_is_never_made_anew(folder: Path, name: str, how: str) -> None:
    ensure(database_exists=False)
    (folder / name).unlink() if how == "missing" else (folder / name).write_text("")
    before = values(folder)

    with pytest.raises(Problems, match="would lose") as caught:
        ensure(database_exists=True)

    assert values(folder) == before
    assert f"secrets/{name}" in str(caught.value)


def test_secret_that_costs_only_a_login_is_made_anew_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ensure(database_exists=False)
    before = values(folder)
    (folder / "jwt_secret").unlink()

    ensure(database_exists=True)

    assert values(folder)["jwt_secret"] not in ("", before["jwt_secret"])
    assert "secrets/jwt_secret was missing" in capsys.readouterr().err


def test_whole_folder_gone_names_everything_that_would_be_lost(folder: Path) -> None:
    with pytest.raises(KitError) as caught:
        ensure(database_exists=True)

    assert all(secret.loss in str(caught.value) for secret in generated_secrets.SECRETS)
    assert not folder.exists()
