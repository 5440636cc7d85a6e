"""Errors meant for the user, apart from bugs.

Whatever a user can cause (a missing folder, a feature file of another dimension, a full disk) is
raised as an :class:`ActiveIndexError`. Its text is one line that names the file or option, what
was found and what was expected; the command line prints that line and exits with code 2. Any
other exception is a bug and keeps its traceback.
"""

import re
import textwrap
from collections.abc import Sequence

_LONGEST_REASON = 160


class ActiveIndexError(Exception):
    """Base of every error that the user can mend; the text is one self-contained line."""

    def __reduce__(self) -> tuple[object, ...]:
        """Comes out of a worker as it was, whatever its constructor takes."""
        return _with_text, (type(self), str(self), self.__dict__)


def _with_text(
    kind: type[ActiveIndexError], text: str, attributes: dict[str, object]
) -> ActiveIndexError:
    error = kind.__new__(kind, text)
    error.__dict__.update(attributes)
    return error


class InputError(ActiveIndexError, ValueError):
    """A file, an image or an option does not hold what it should."""


class ShapeError(InputError):
    """A tensor or array has another shape than expected; both are printed.

    Args:
        name: What the array is to the caller, e.g. ``"features"``.
        expected: The shape asked for, with letters for free sizes, e.g. ``("B", 3, "H", "W")``.
        actual: The shape that came.
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
    """An index of this kind has no reconstruction that an image could be aimed at."""


class MissingExtraError(ActiveIndexError, ImportError):
    """An optional package is not installed.

    Args:
        package: The package that is missing.
        extra: The extra of ``activeindex`` that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: "
            f'pip install "activeindex[{extra}]"'
        )


def reason_of(error: BaseException) -> str:
    r"""What an error of a library says: its first line, of a long one the first sentence.

    >>> reason_of(RuntimeError("no zip archive\nat read (zip.cpp:12)"))
    'no zip archive'
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if len(line) <= _LONGEST_REASON:
        return line
    sentence = re.split(r"\.\s", line, maxsplit=1)[0]
    return textwrap.shorten(sentence, _LONGEST_REASON, placeholder=" …")
