"""Rows of a feature file on their way into a store, and what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from activeindex.runtime.files import check_file, file_hash
from activeindex.stores.records import Batch


@dataclass(frozen=True)
class Part:
    """Images whose features are rows of a feature file, which stay there until they are written.

    Attributes:
        names: Their names.
        rows: The row of each.
        activations: Records of activation by name, of no other images.
    """

    names: Sequence[str]
    rows: Sequence[int]
    activations: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        rows: Sequence[int],
        activations: Mapping[str, Mapping[str, Any]],
    ) -> "Part":
        """Leaves out the records of other images."""
        here = {name: activations[name] for name in names if name in activations}
        return cls(names, rows, here)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, places: Sequence[int]) -> "Part":
        """Some of the images."""
        return Part.of(
            [self.names[place] for place in places],
            [self.rows[place] for place in places],
            self.activations,
        )

    def batch(self, values: npt.NDArray[Any], data_dir: Path | None = None) -> Batch:
        """The images as they are stored.

        Args:
            values: Of the feature file, ``(n, d)``.
            data_dir: The originals, to hash those that have no record of activation.

        Raises:
            InputError: If an original is missing, a feature is not finite or a name comes twice.
        """
        rows: Any = self.rows
        # A range is not copied.
        rows = slice(rows.start, rows.stop, rows.step) if isinstance(rows, range) else list(rows)
        features = values[rows].astype(np.float32, copy=False)
        hashes: Sequence[str | None] = ()
        if data_dir is not None:
            hashes = [
                # A record has it already.
                None if name in self.activations else _hash(data_dir / name)
                for name in self.names
            ]
        return Batch(self.names, features, hashes, self.activations)


@dataclass(frozen=True)
class Written:
    """What became of a part.

    Attributes:
        count: Images that were not there before.
        activated: How many of these were changed before release.
        moved: Names of those whose code is another than their record says.
        files: What the engine of the store has to commit before they are there, if anything.
    """

    count: int = 0
    activated: int = 0
    moved: Sequence[str] = ()
    files: Sequence[Any] = field(default=(), repr=False)


def _hash(path: Path) -> str:
    return file_hash(check_file(path, "data_dir"))
