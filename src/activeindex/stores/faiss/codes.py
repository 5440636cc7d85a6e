"""A FAISS index that is filled with codes."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import Neighbours
from activeindex.indexing.unwrap import unwrapped


class CodeIndex:
    """Codes in memory, searched by FAISS.

    Args:
        trained: A trained index; it is copied, and stays empty itself.

    Raises:
        InputError: If FAISS cannot add codes to an index of this kind (graphs, refinements).
    """

    def __init__(self, trained: TrainedIndex) -> None:
        self._index = faiss.deserialize_index(faiss.serialize_index(trained.index))
        self._codec: Any = unwrapped(self._index)[1]
        self._lists = isinstance(self._codec, faiss.IndexIVF)
        self._transforms: list[Any] = []
        outer = self._index
        while isinstance(outer, faiss.IndexPreTransform):
            self._transforms.append(outer)
            outer = faiss.downcast_index(outer.index)
        codes = isinstance(self._codec, faiss.IndexIVF | faiss.IndexFlatCodes)
        if type(outer) is not type(self._codec) or not codes:
            raise InputError(
                f"{trained}: expected inverted lists or flat codes for a faiss: store, found "
                f"{type(outer).__name__}"
            )
        self._ids = np.empty(0, np.int64)

    @property
    def count(self) -> int:
        """Number of codes."""
        return len(self._ids)

    @property
    def last(self) -> int:
        """The largest id; -1 without codes."""
        return int(self._ids[-1]) if len(self._ids) else -1

    def add(self, ids: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8]) -> None:
        """Add codes ``(n, code_size)`` under ids ``(n,)`` that are larger than those there."""
        if not len(ids):
            return
        rows = np.arange(len(self._ids), len(self._ids) + len(ids))
        self._codec.add_sa_codes(np.ascontiguousarray(codes), *([rows] if self._lists else []))
        for transform in self._transforms:
            transform.ntotal = len(rows) + int(rows[0])
        self._ids = np.concatenate([self._ids, ids])

    def search(
        self,
        features: npt.NDArray[np.float32],
        k: int,
        nprobe: int,
        allowed: npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """The ``k`` nearest codes of features ``(n, d)``.

        Args:
            features: ``(n, d)``.
            k: Neighbours per feature.
            nprobe: Inverted lists that are visited.
            allowed: Ids that may be found, ascending; None for all.

        Raises:
            InputError: If only some may be found and the index has no inverted lists.
        """
        parameters: Any = None
        if self._lists:
            parameters = _parameters("SearchParametersIVF", nprobe=min(nprobe, self._codec.nlist))
        if allowed is not None:
            if not self._lists:
                raise InputError(
                    "where: expected an index with inverted lists for a search with a filter, "
                    f"found {type(self._codec).__name__}"
                )
            rows = np.searchsorted(self._ids, allowed)
            parameters.sel = selector = faiss.IDSelectorBatch(rows)
            parameters.referenced_objects = [selector]
        for _ in self._transforms if parameters is not None else ():
            parameters = _parameters("SearchParametersPreTransform", index_params=parameters)
        distances, rows = self._index.search(
            np.ascontiguousarray(features, dtype=np.float32), k, params=parameters
        )
        ids = np.full(rows.shape, -1, np.int64)
        ids[rows >= 0] = self._ids[rows[rows >= 0]]
        return Neighbours(distances, ids)


def _parameters(kind: str, **values: Any) -> Any:
    return getattr(faiss, kind)(**values)  # The stubs know none of their arguments.
