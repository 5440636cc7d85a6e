"""Records: what a store keeps of an image."""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from activeindex.activation.records import was_changed, without_infinity
from activeindex.identity import QuantiserIdentity
from activeindex.stores.filters import Columns

if TYPE_CHECKING:
    from activeindex.indexing.quantiser import Quantiser

MEASURES = ("psnr", "ssim", "linf", "distance_before", "distance_after")
"""Numbers of an activation record that filters can name; null for images without a record."""

TEXTS = ("name", "sha256", "activation", "tags", "metadata")
"""Columns of text; the last three are JSON."""

COLUMNS = ("name", "sha256", *MEASURES, "activation", "tags", "metadata", "disabled_until")
"""Columns of every record beside its id and code, which its checksum covers; those that are not
texts are floats."""

CHANGEABLE = ("tags", "metadata", "disabled_until")
"""Columns that can be changed after an image was added."""

BLOBS = ("released_feature", "second_feature", "thumbnail")
"""Optional values beside the feature: that of the released picture, in float32; that of the store's
second extractor; a small copy of the original in a format of images."""

CHECKSUMS = ("checksum", "feature_checksum", *(f"{name}_checksum" for name in BLOBS))
"""Checksums of the record, its feature and the optional values, from schema 2 on."""

FILTERABLE: Columns = {"id": int, "name": str, "sha256": str, **dict.fromkeys(MEASURES, float)}
"""Columns that a filter can name."""

FILTERABLE_2: Columns = {**FILTERABLE, "tags": list, "metadata": str, "disabled_until": float}
"""Columns that a filter can name from schema 2 on."""

_TOLERANCE = 1e-3
"""Relative tolerance when comparing reconstructions."""


@dataclass(frozen=True)
class Record:
    """An image in a store.

    Attributes:
        id: Its number; a store never gives a number twice.
        name: Its name, unique in its generation.
        sha256: Hash of the original file; None where it is not known.
        code: Code of the original's feature.
        activation: Its activation record; None without one.
        quantiser: The quantiser that it is searched through.
        tags: Words that were given to it.
        metadata: Other values that were given to it; None without.
        disabled_until: Time in seconds since 1970 until which no search finds it; None finds it.
    """

    id: int
    name: str
    sha256: str | None
    code: bytes
    activation: Mapping[str, Any] | None
    quantiser: QuantiserIdentity
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None
    disabled_until: float | None = None

    @property
    def activated(self) -> bool:
        """True if the image was changed before release."""
        return self.activation is not None and was_changed(self.activation)

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file, the code as hexadecimal digits."""
        activation = self.activation and without_infinity(self.activation)
        return {
            **vars(self),
            "code": self.code.hex(),
            "activation": activation,
            "quantiser": self.quantiser.as_json(),
            "tags": [*self.tags],
        }


def record_checksum(number: int, values: Sequence[Any], code: bytes) -> int:
    """CRC-32 of a record.

    Args:
        number: The id.
        values: Its values, in the order of :data:`COLUMNS`.
        code: Its code.
    """
    return zlib.crc32(code, zlib.crc32(json.dumps([number, *values]).encode()))


def value_checksum(number: int, value: Any) -> int:
    """CRC-32 of the bytes of a feature or another value of an image, and its id."""
    return zlib.crc32(value, number & 0xFFFFFFFF)


def same_code(code: npt.NDArray[np.uint8], recorded: object, quantiser: "Quantiser") -> bool:
    """Compare a code ``(code_size,)`` with the hexadecimal one of an activation record.

    Codes that hold (nearly) the feature itself may differ in its last bits: codes of one inverted
    list are the same if they reconstruct the same vector within 0.1 %.
    """
    if code.tobytes().hex() == recorded:
        return True
    try:
        other = np.frombuffer(bytes.fromhex(str(recorded)), np.uint8)
    except ValueError:
        return False
    lists = quantiser.list_size  # FAISS aborts at the number of a list that does not exist.
    if len(other) != len(code) or not np.array_equal(code[:lists], other[:lists]):
        return False
    first, second = quantiser.decode(np.stack([code, other]))
    return bool(np.linalg.norm(first - second) <= _TOLERANCE * np.linalg.norm(first))


def measure(record: Mapping[str, Any] | None, name: str) -> float | None:
    """A number of an activation record; the PSNR of an unchanged image, null in JSON, is infinite.

    Args:
        record: The record; None without one.
        name: One of :data:`MEASURES`.
    """
    value = None if record is None else record.get(name)
    if name == "psnr" and record is not None and name in record and value is None:
        return math.inf
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value) + 0.0  # Engines differ in how -0.0 and NaN compare.
