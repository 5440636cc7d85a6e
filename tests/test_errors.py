"""Errors that come out of another process are those that were raised there."""

import pickle

import pytest

from activeindex.errors import (
    ActiveIndexError,
    InputError,
    MissingExtraError,
    OutputError,
    ShapeError,
    UnreadableImageError,
)


@pytest.mark.parametrize(
    "error",
    [
        InputError("out: expected one, found two"),
        UnreadableImageError("a.jpg: cannot be decoded"),
        OutputError("out: cannot be written (disk full)"),
        ShapeError("images", ("B", 3, 32, 32), (1, 3, 4, 4)),
        MissingExtraError("ray", "ray", "--engine ray"),
    ],
)
def test_an_error_keeps_its_kind_and_its_line(error: ActiveIndexError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
