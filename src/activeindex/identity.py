"""Identities of extractors and quantisers: features and codes of different ones never compare.

Files store an identity as fields with full hashes (:meth:`ExtractorIdentity.as_json`). Release 0.1
stored the text that it showed to people, with a hash of twelve digits; the ``from_json`` functions
read that, too, and no other code parses or compares such texts.
"""

import json
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from activeindex.errors import InputError

_SHOWN = 12
"""Digits of a hash that people see; 0.1 stored no more of some."""

_EXTRACTOR = re.compile(r"(?P<name>.*) \((?P<sha256>[0-9a-f]+)\) at (?P<input_size>\d+) px")
_SUFFIXES = re.compile(
    r"(?P<name>.*?)(?:\+(?P<pooling>mean|gem:[-+.\w]+))?(?:\+whitening:(?P<whitening>[0-9a-f]+))?"
)
_QUANTISER = re.compile(r"(?P<name>.*?) \((?P<sha256>[0-9a-f]+)\)(?: and |$)")


@dataclass(frozen=True)
class ExtractorIdentity:
    """Everything that a feature of an image depends on.

    Attributes:
        name: The extractor's name, or the name of its file.
        sha256: Hash of the file that holds its weights; of the weights themselves where a library
            loads its own.
        input_size: Side in pixels of the square that images are resized to.
        pooling: Pooling behind the network, e.g. ``"gem:3"``; None if the network pools itself.
        whitening: Hash of the whitening behind it; None without one.

    Example:
        >>> identity = ExtractorIdentity("net.pt", "0123456789abcdef" * 4, 288, pooling="gem:3")
        >>> print(identity)
        net.pt+gem:3 (0123456789ab) at 288 px
        >>> ExtractorIdentity.from_json(identity.as_json()) == identity
        True
    """

    name: str
    sha256: str
    input_size: int
    pooling: str | None = None
    whitening: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(
        cls, value: object, sha256: str | None = None, *, where: object = None
    ) -> Self | None:
        """Read an identity from a JSON file, of this release or of 0.1.

        Args:
            value: The fields, or the text of 0.1; None where no extractor was noted.
            sha256: The full hash, where 0.1 noted it beside the text.
            where: The file, for the message; None if it is from none.

        Raises:
            InputError: If the value is neither.
        """
        if value is None or value == "":
            return None
        try:
            if isinstance(value, str) and value.startswith("{"):
                value = json.loads(value)
            if isinstance(value, str):
                found = _EXTRACTOR.fullmatch(value)
                value = {**found.groupdict(), "sha256": sha256 or found["sha256"]} if found else {}
            fields = dict(value)  # type: ignore[call-overload]
            if "pooling" not in fields:  # 0.1 kept what is behind the network in the name.
                match = _SUFFIXES.fullmatch(fields["name"])
                fields |= match.groupdict() if match else {}
            identity = cls(**{**fields, "input_size": int(fields["input_size"])})
            _check_texts(identity.name, identity.sha256, identity.pooling, identity.whitening)
            return identity
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
            raise InputError(
                f"{_beginning(where)}extractor: expected its name, sha256 and "
                f"input_size, found {reprlib.repr(value)}"
            ) from None

    def __str__(self) -> str:
        parts = [self.name, self.pooling]
        if self.whitening:
            parts.append(f"whitening:{self.whitening[:_SHOWN]}")
        name = "+".join(part for part in parts if part)
        return f"{name} ({self.sha256[:_SHOWN]}) at {self.input_size} px"


@dataclass(frozen=True)
class QuantiserIdentity:
    """The index that codes come from.

    Attributes:
        name: Factory string and metric, or the name of a file that comes without a manifest.
        sha256: Hash of the FAISS file.
    """

    name: str
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object, *, where: object = None) -> tuple[Self, ...]:
        """Read one identity, or several, from a JSON file of this release or of 0.1.

        Args:
            value: The fields of one or of several, or the text of 0.1.
            where: The file, for the message; None if it is from none.

        Raises:
            InputError: If the value is none.
        """
        try:
            if isinstance(value, str):
                return tuple(cls(**found.groupdict()) for found in _QUANTISER.finditer(value))
            several: list[Any] = value if isinstance(value, list) else [value]
            found = tuple(cls(**dict(each)) for each in several if each is not None)
            _check_texts(*(text for each in found for text in (each.name, each.sha256)))
            return found
        except (TypeError, ValueError):
            raise InputError(
                f"{_beginning(where)}quantiser: expected its name and sha256, found "
                f"{reprlib.repr(value)}"
            ) from None

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:_SHOWN]})"


def _beginning(where: object) -> str:
    return "" if where is None else f"{where}: "


def _check_texts(*texts: object) -> None:
    """Raise a TypeError unless all are texts or None."""
    if not all(isinstance(text, str | None) for text in texts):
        raise TypeError("expected texts")


def same(
    one: ExtractorIdentity | QuantiserIdentity | None,
    other: ExtractorIdentity | QuantiserIdentity | None,
) -> bool:
    """Compare two identities; True where one of them is not known.

    Two quantisers are the same if their files are: their names are for people. Hashes of which 0.1
    stored twelve digits are compared as far as both are known.
    """
    if one is None or other is None:
        return True
    if not _agree(one.sha256, other.sha256):
        return False
    if isinstance(one, ExtractorIdentity) and isinstance(other, ExtractorIdentity):
        here = one.name, one.input_size, one.pooling
        there = other.name, other.input_size, other.pooling
        return here == there and _agree(one.whitening or "", other.whitening or "")
    return True


def _agree(one: str, other: str) -> bool:
    shown = min(len(one), len(other))
    return one[:shown] == other[:shown] and (shown >= _SHOWN or one == other)


def check_extractors(
    where: object,
    expected: ExtractorIdentity | None,
    found: ExtractorIdentity | None,
    dimensions: tuple[int, int] | None = None,
) -> None:
    """Check that features come from the extractor that they are for, if both are known.

    Args:
        where: The index or the store, for the message.
        expected: Its extractor.
        found: That of the features.
        dimensions: Of the former's features and the latter's; equal if they are not given.

    Raises:
        InputError: If they are different extractors.
    """
    if same(expected, found):
        return
    wanted, there = f"features of {expected}", f"features of {found}"
    if dimensions is None or dimensions[0] == dimensions[1]:
        # Only where they fit: features of another dimension cannot be used by force.
        there += "; --force goes on nevertheless"
    else:
        wanted += f", of dimension {dimensions[0]}"
        there += f", of dimension {dimensions[1]}"
    raise InputError(f"{where}: expected {wanted}, found {there}")


def _read_extractor(value: object, *, where: object = None) -> tuple[ExtractorIdentity, ...]:
    found = ExtractorIdentity.from_json(value, where=where)
    return () if found is None else (found,)


_READERS: Mapping[str, Callable[..., tuple[Any, ...]]] = {
    "extractor": _read_extractor,
    "quantiser": QuantiserIdentity.from_json,
}


def noted_difference(key: str, here: object, there: object) -> tuple[str, str] | None:
    """Compare two JSON values of a note by the identities that they stand for.

    Args:
        key: The key of both in their notes.
        here: The value of this command.
        there: The value of the note, of any release.

    Returns:
        Both as texts if the key names identities and they differ; None otherwise.
    """
    if here == there:
        return None
    try:
        ours, theirs = _READERS[key](here), _READERS[key](there)
    except InputError:
        return str(here), str(there)
    if len(ours) == len(theirs) and all(map(same, ours, theirs)):
        return None
    return _shown(ours), _shown(theirs)


def shown(key: str, value: object, where: object) -> object:
    """Return a JSON value of the note ``where`` for people: identities as texts.

    Raises:
        InputError: If the value of an identity is none; the note is named.
    """
    return _shown(_READERS[key](value, where=where)) if key in _READERS else value


def is_identity(key: str) -> bool:
    """True if the values of a key in a note are identities."""
    return key in _READERS


def _shown(identities: tuple[object, ...]) -> str:
    return " and ".join(map(str, identities))
