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
        """Id of each code of an index without lists, which numbers codes itself."""
        self.last = -1

    @property
    def count(self) -> int:
        """Number of codes."""
        return int(self._codec.ntotal)

    def add(self, ids: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8]) -> None:
        """Add codes ``(n, code_size)`` under ids ``(n,)`` that are larger than those there."""
        if len(ids):
            self._codec.add_sa_codes(np.ascontiguousarray(codes), *([ids] if self._lists else []))
            if not self._lists:
                self._ids = np.concatenate([self._ids, ids])
            self.last = int(ids[-1])
            self._set_totals()

    def remove(self, ids: npt.NDArray[np.int64]) -> None:
        """Remove the codes of ids ``(n,)``."""
        if len(ids):
            gone = np.isin(self._ids, ids)
            rows = ids if self._lists else np.flatnonzero(gone)
            self._codec.remove_ids(faiss.IDSelectorBatch(np.ascontiguousarray(rows)))
            self._ids = self._ids[~gone]
            self._set_totals()

    def _set_totals(self) -> None:
        for transform in self._transforms:
            transform.ntotal = self.count

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
            parameters.sel = selector = faiss.IDSelectorBatch(allowed)
            parameters.referenced_objects = [selector]
        for _ in self._transforms if parameters is not None else ():
            parameters = _parameters("SearchParametersPreTransform", index_params=parameters)
        distances, ids = self._index.search(
            np.ascontiguousarray(features, dtype=np.float32), k, params=parameters
        )
        if not self._lists:
            ids[ids >= 0] = self._ids[ids[ids >= 0]]
        return Neighbours(distances, ids)


def weights(ids: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Hash of each id ``(n,)`` with its code ``(n, code_size)``, in [0, 2^31).

    The sum over all codes shows whether those that are read are those that were written.
    """
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    words = np.column_stack([ids.view(np.uint64), np.ascontiguousarray(padded).view(np.uint64)])
    hashes = np.zeros(len(ids), np.uint64)
    for word in words.T:  # Every step is one to one: no single bit goes unnoticed before the last.
        hashes = (hashes ^ word) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    return (hashes >> np.uint64(33)).view(np.int64)


def _parameters(kind: str, **values: Any) -> Any:
    return getattr(faiss, kind)(**values)  # The stubs know none of their arguments.
