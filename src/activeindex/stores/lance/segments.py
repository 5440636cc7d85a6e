"""Segments of a Lance index, made by whoever computes; the calling process alone commits them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from activeindex.runtime.pool import LocalEngine
from activeindex.stores.lance.model import LanceModel, lance_errors, lance_library

COLUMN = "feature"
INDEX = "codes"


@dataclass(frozen=True)
class SegmentJob:
    """Indexes fragments of a data set; a :class:`~activeindex.runtime.pool.Job`.

    The result of an item, a few fragments, is the segment that covers them, which nobody sees
    before it is committed: one that was made twice, after its worker died, is there once.

    Attributes:
        uri: The data set; of the same name on every machine.
        version: Of the data set, that has these fragments.
        model: What every segment is made with.
    """

    uri: str
    version: int
    model: LanceModel

    def __call__(self, items: Sequence[Sequence[int]], workers: LocalEngine) -> Iterator[Any]:
        """Yields the segment of each item."""
        lance, options = lance_library(), self.model.options()
        for fragments in items:
            with lance_errors(self.uri):
                yield lance.dataset(self.uri, version=self.version).create_index_uncommitted(
                    COLUMN, "IVF_PQ", name=INDEX, fragment_ids=list(fragments), replace=True,
                    **options,
                )  # fmt: skip
