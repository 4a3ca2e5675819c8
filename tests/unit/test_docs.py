"""What the documents claim exists, and what exists is in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.settings import ARGUMENTS, ROOT, SETTINGS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
GROUPS = re.findall(r"^##@ (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_commands_page_has_a_heading_for_each_target_under_the_makefiles_groups() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE)) == TARGETS - {"help"}
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == GROUPS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_make_command_shown_is_a_target(page: Path) -> None:
    shown = re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert set(shown) <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_upper_case_setting_shown_exists() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", text))
    known = {setting.key for setting in SETTINGS} | {"COMPOSE_PROJECT_NAME", *ARGUMENTS}

    assert shown <= known


def test_every_guide_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme] == []


def test_every_picture_is_shown_somewhere() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert [path.name for path in (ROOT / "docs" / "images").iterdir() if f"images/{path.name})" not in text] == []
