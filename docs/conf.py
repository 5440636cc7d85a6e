"""The documentation as a site: `make docs`. Pages stay readable where the repository is hosted.

The source folder is the root of the repository, so that links between pages are the same files
everywhere. README.md is the front page, and the tables of docs/README.md are the navigation.
"""

import posixpath
import re
import shutil
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

import activeindex

ROOT = Path(__file__).parents[1]

project = "Active image indexing"
author = "The activeindex developers"
copyright = author
release = activeindex.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("docs/*.md", "examples/README.md", "training/README.md"),
]
exclude_patterns = [".*", "build", "demo_output", "env", "src", "tests"]

highlight_language = "text"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autoclass_content = "class"

html_theme = "furo"
html_title = f"Active image indexing {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def navigation() -> str:
    """The sections of docs/README.md as tables of contents."""
    found = []
    for section in re.split(r"^## ", (ROOT / "docs" / "README.md").read_text(), flags=re.M)[1:]:
        caption, _, text = section.partition("\n")
        links = re.findall(r"^\| \[.+?\]\((.+?)\.md\)", text, flags=re.M)
        pages = [posixpath.normpath(f"docs/{link}") for link in links]
        found.append([":::{toctree}", ":hidden:", f":caption: {caption}", "", *pages, ":::", ""])
    found[-1].insert(-2, "docs/README")
    return "\n".join(line for lines in found for line in lines)


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the navigation into the front page."""
    if docname == root_doc:
        app.env.note_dependency(ROOT / "docs" / "README.md", docname=docname)
        source[0] += f"\n\n{navigation()}\n"


def add_index(app: Sphinx, exception: Exception | None) -> None:
    """Let the folder of the site open with the front page."""
    if exception is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)
