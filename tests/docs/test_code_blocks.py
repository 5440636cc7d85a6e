"""What README and the pages of docs/ show in Python runs as it stands there."""

import doctest
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

PYTHON = [page for page in PAGES if any(one.language == "python" for one in blocks(page))]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run_one_after_the_other(page: Path, reader: dict[str, Any]) -> None:
    ran = 0
    for block in blocks(page):
        if block.language != "python" or block.not_run:
            continue
        # FAISS's reordering of centroids takes half a minute and is not what pages are about.
        text = block.text.replace('PQ8x8"', 'PQ8x8np"')
        if ">>>" in text:
            name = str(block)
            test = doctest.DocTestParser().get_doctest(text, reader, name, name, block.line)
            failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
                test, clear_globs=False
            )
            assert not failed, f"{block}: see what was printed"
            reader.update(test.globs)
        else:
            # Errors name the page and the line.
            code = compile("\n" * block.line + text, str(page), "exec")
            exec(code, reader)
        ran += 1
    if not ran:
        pytest.skip("no block of this page is to be run")
