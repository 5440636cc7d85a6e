"""What the tests of extractors share."""

from collections.abc import Iterator

import pytest

from tests.extractors.file_server import BODY, FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server of this machine that has one file."""
    with serving(FileServer(BODY)) as running:
        yield running
