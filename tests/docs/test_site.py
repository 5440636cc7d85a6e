"""The site (`make docs`) has every page and every public name."""

import re
from pathlib import Path

import pytest

import activeindex
from tests.docs.pages import ROOT

LIST = ROOT / "docs" / "README.md"


def test_every_page_is_in_the_navigation() -> None:
    """docs/conf.py makes the navigation of the first column of the tables."""
    links = re.findall(r"^\| \[.+?\]\((.+?\.md)\)", LIST.read_text(), flags=re.M)
    listed = {(LIST.parent / link).resolve() for link in links}
    pages = {*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")} - {LIST, ROOT / "README.md"}
    pages |= {ROOT / "examples" / "README.md", ROOT / "training" / "README.md"}
    assert listed == pages


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)$", text, flags=re.M))
    assert named == set(activeindex.__all__)


@pytest.mark.parametrize("page", ["README.md", "docs/README.md"])
def test_links_of_the_entry_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_figure_of_the_concepts_has_the_photographs_of_the_package() -> None:
    data = (ROOT / "docs" / "_static" / "concepts_data.js").read_text()
    shown = re.findall(r'"(\w+)":\{"edits"', data)
    assert len(shown) >= 3
    pictures = Path(activeindex.__file__).parent / "demo" / "pictures" / "photographs"
    assert all((pictures / f"{name}.jpg").is_file() for name in shown)
