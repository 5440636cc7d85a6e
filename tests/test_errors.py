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
    library_errors,
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


class PanicException(BaseException):
    """A panic of Rust, as its bindings raise it."""


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too\ndeep"), KeyError("a"), PanicException("boom")]
)
def test_whatever_a_library_raises_is_one_line_that_names_the_file(error: BaseException) -> None:
    line = "net.onnx: expected ONNX"
    with (
        pytest.raises(InputError, match=rf"^{line} \(.+\)$") as caught,
        library_errors(line),
    ):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ShapeError("a", (1,), (2,))])
def test_interrupts_and_our_own_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, library_errors("net.onnx: expected ONNX"):
        raise error
    assert caught.value is error
