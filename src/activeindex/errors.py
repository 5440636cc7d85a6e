"""Errors meant for the user, apart from bugs.

Problems that a user can cause (a missing folder, a feature file of another dimension, a full disk)
are raised as :class:`ActiveIndexError`. The text is one line that names the file or option, what
was expected and what was found; the command line prints it and exits with code 2, or 1 for a
:class:`SomeFailedError`. Any other exception is a bug and keeps its traceback.
"""

import contextlib
import difflib
import importlib
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_LONGEST_REASON = 160
_FAISS_LOCATION = re.compile(r"^Error in .* at \S+:\d+: (Error: )?")

# PyTorch and onnx warn of what they then read or refuse; the user's own filters go first.
for _text in (
    "Detected pickle protocol",
    "TypedStorage is deprecated",
    "Ignoring unknown external",
):
    warnings.filterwarnings("ignore", _text, append=True)


class ActiveIndexError(Exception):
    """Base of every error that the user can fix; the text is one self-contained line."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by text and attributes, so that any constructor survives the way from a worker."""
        return _with_text, (type(self), str(self), self.__dict__)


def _with_text(
    kind: type[ActiveIndexError], text: str, attributes: dict[str, object]
) -> ActiveIndexError:
    error = kind.__new__(kind, text)
    error.__dict__.update(attributes)
    return error


class InputError(ActiveIndexError, ValueError):
    """A file, an image or an option is not as expected."""


class ShapeError(InputError):
    """A tensor or array has another shape than expected; both are printed.

    Args:
        name: The caller's name for the array, e.g. ``"features"``.
        expected: The expected shape, with letters for free sizes, e.g. ``("B", 3, "H", "W")``.
        actual: The shape found.
    """

    def __init__(self, name: str, expected: Sequence[int | str], actual: Sequence[int]) -> None:
        self.expected = tuple(expected)
        self.actual = tuple(actual)
        wanted = ", ".join(str(size) for size in expected)
        found = ", ".join(str(size) for size in actual)
        super().__init__(f"{name}: expected shape ({wanted}), found ({found})")


class UnreadableImageError(InputError):
    """An image file could not be decoded."""


class UnencodableError(InputError):
    """A file format cannot hold a picture."""


class OutputError(ActiveIndexError, OSError):
    """A file could not be written."""


class NoTargetError(InputError):
    """An index of this kind has no target of the kind that was asked for."""


class SomeFailedError(ActiveIndexError):
    """Some items of many failed, and the others were done; the text names them."""


class MissingExtraError(ActiveIndexError, ImportError):
    """An optional package is not installed.

    Args:
        package: The missing package.
        extra: The extra of ``activeindex`` that brings it.
        purpose: The feature that needs it, as the subject of a sentence.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: "
            f'pip install "activeindex[{extra}]"'
        )


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the known names, as the end of a message.

    Example:
        >>> did_you_mean("actvate", ["activate", "evaluate"])
        '; did you mean activate?'
        >>> did_you_mean("x", ["activate", "evaluate"])
        ''
    """
    near = difflib.get_close_matches(found, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional module.

    Args:
        module: The module; its last part is the name of the package.
        extra: The extra of ``activeindex`` that brings it.
        purpose: The feature that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(module.rpartition(".")[2], extra, purpose) from None


@contextlib.contextmanager
def library_errors(refusal: str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Raise whatever a library raises about its input as an InputError of one line.

    Readers of other projects meet damaged or hostile files with errors of a dozen types, among
    them MemoryError, RecursionError and the panics of Rust. Only calls of a library belong in the
    block: errors of our own code are bugs, and keep their traceback.

    Args:
        refusal: Beginning of the line: the file or option, what was expected, and what to do.
        kind: The error to raise.

    Raises:
        InputError: Of ``kind``, with ``refusal`` and the library's reason.

    Example:
        >>> import json
        >>> with library_errors("numbers.json: expected JSON"):
        ...     json.loads("{")
        Traceback (most recent call last):
        activeindex.errors.InputError: numbers.json: expected JSON (Expecting property name ...
    """
    try:
        yield
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # Of Rust; no Exception.
        if isinstance(error, ActiveIndexError) or not (panic or isinstance(error, Exception)):
            raise
        raise kind(f"{refusal} ({reason_of(error)})") from None


def reason_of(error: BaseException) -> str:
    r"""Shorten an error of a library to its first line, a long line to its first sentence.

    >>> reason_of(RuntimeError("no zip archive\nat read (zip.cpp:12)"))
    'no zip archive'
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    lines = (str(error).strip() or type(error).__name__).splitlines()
    # TorchScript puts its own traceback before the reason.
    line = _FAISS_LOCATION.sub("", lines[-1 if "TorchScript interpreter" in lines[0] else 0])
    if len(line) <= _LONGEST_REASON:
        return line
    sentence = re.split(r"\.\s", line, maxsplit=1)[0]
    return textwrap.shorten(sentence, _LONGEST_REASON, placeholder=" …")
