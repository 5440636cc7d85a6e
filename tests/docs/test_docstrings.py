"""Examples in docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import activeindex

SOURCE = Path(activeindex.__file__).parent


def modules() -> list[str]:
    """The modules with an example."""
    return [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(SOURCE.rglob("*.py"))
        if ">>> " in path.read_text()
    ]


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [finder.find(importlib.import_module(name)) for name in modules()]
    return [test for tests in found for test in tests if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_print_what_they_say(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed, _ = runner.run(example, out=printed.append)
    assert not failed, "".join(printed)
