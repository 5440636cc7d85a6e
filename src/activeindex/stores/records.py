"""Records: what a store keeps of an image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from activeindex.activation.records import was_changed, without_infinity
from activeindex.identity import QuantiserIdentity
from activeindex.indexing.quantiser import Quantiser

MEASURES = ("psnr", "ssim", "linf", "distance_before", "distance_after")
"""Numbers of an activation record that filters can name; null for images without a record."""

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
    """

    id: int
    name: str
    sha256: str | None
    code: bytes
    activation: Mapping[str, Any] | None
    quantiser: QuantiserIdentity

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
        }


def same_code(code: npt.NDArray[np.uint8], recorded: object, quantiser: Quantiser) -> bool:
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
    return float(value) if isinstance(value, int | float) else None
