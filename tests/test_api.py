"""``import activeindex as ai``: cheap, complete, and the same objects as the rooms'."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import activeindex as ai

SETTINGS = (
    "ActivationSettings",
    "Budget",
    "FileFormat",
    "InputError",
    "PRESETS",
    "ReleaseSettings",
)
"""Names that a program may use before it is known whether anything is to be computed."""


def imported(statement: str) -> set[str]:
    """The top-level packages that a fresh Python has imported after a statement."""
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_import_loads_nothing_heavy() -> None:
    standard = imported("import importlib, typing")
    assert imported("import activeindex") - standard == {"activeindex"}


def test_settings_are_made_without_pytorch_or_faiss() -> None:
    found = imported("import activeindex as ai; " + "; ".join(f"ai.{name}" for name in SETTINGS))
    assert not found & {"faiss", "torch", "kornia"}


@pytest.mark.parametrize("name", ai.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(ai, name)
    assert name in dir(ai)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        assert value is getattr(importlib.import_module(value.__module__), name)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(ai.__file__).read_text())
    typed = {
        alias.asname or alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    places = {name: f"activeindex.{at.partition(':')[0]}" for name, at in ai._MODULES.items()}
    assert typed == places
    assert set(typed) == {*ai.__all__}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'activeindex' has no attribute 'activte'"):
        _ = ai.activte  # type: ignore[attr-defined]


def test_the_page_of_python_has_every_name() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    table = page[page.index("## Names") : page.index("## Images")]
    assert set(re.findall(r"`ai\.(\w+)", table)) == {*ai.__all__}
