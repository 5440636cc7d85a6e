"""Data files of a Lance data set, made by whoever computes; the calling process alone commits them.

A *fragment* is what Lance calls a data file and what is known of it. Nobody sees one before it is
committed: one that was written twice, after its worker died, is there once.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from activeindex.errors import MissingExtraError
from activeindex.extractors.feature_files import map_features
from activeindex.indexing.quantiser import Quantiser
from activeindex.runtime.pool import LocalEngine
from activeindex.stores.generation import Ids
from activeindex.stores.ingest import Part, Written
from activeindex.stores.lance.model import lance_errors, lance_library, vectors
from activeindex.stores.records import MEASURES, Batch

if TYPE_CHECKING:
    import pyarrow as pa


def record_table(ids: Ids, batch: Batch, codes: npt.NDArray[np.uint8]) -> "pa.Table":
    """Images as a data set keeps them, one per row.

    Args:
        ids: ``(n,)``.
        batch: ``n`` images.
        codes: ``(n, code_size)``.
    """
    import pyarrow as pa

    columns = batch.columns()
    texts = {name: pa.array(columns[name], pa.string()) for name in ("name", "sha256")}
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            **texts,
            **{name: pa.array(columns[name], pa.float64()) for name in MEASURES},
            "activation": pa.array(columns["activation"], pa.string()),
            "code": pa.array([code.tobytes() for code in codes], pa.binary()),
            "feature": vectors(batch.features),
        }
    )


def check_lance_ray() -> None:
    """Checks that lance-ray is there, which writes fragments.

    Raises:
        MissingExtraError: If it is not installed.
    """
    if find_spec("lance_ray") is None:
        raise MissingExtraError("lance-ray", "lance-ray", "adding to a lance: store on Ray")


@dataclass(frozen=True)
class FragmentJob:
    """Codes parts of a feature file and writes them; a :class:`~activeindex.runtime.pool.Job`.

    An item is the id of a part's first image and the part; features and codes stay where they are
    read and made.

    Attributes:
        uri: The data set; it and the next two are of the same name on every machine.
        features: The feature file.
        data_dir: The originals, to hash those that have no record; None to hash none.
        shape: Of the feature file, ``(n, d)``.
        quantiser: What codes.
    """

    uri: str
    features: Path
    data_dir: Path | None
    shape: tuple[int, ...]
    quantiser: Quantiser

    def __call__(
        self, items: Sequence[tuple[int, Part]], workers: LocalEngine
    ) -> Iterator[Written]:
        """Yields what was written of each part."""
        lance_library()
        check_lance_ray()
        from lance_ray import LanceFragmentWriter

        # None: in the format of the data set.
        write = LanceFragmentWriter(self.uri, use_legacy_format=None)
        for first, part in items:
            values = map_features(self.features, "FTS", self.shape)
            batch = part.batch(values, self.data_dir)
            codes = self.quantiser.encode(batch.features)
            ids = np.arange(first, first + len(part), dtype=np.int64)
            with lance_errors(self.uri):
                written = write(record_table(ids, batch, codes))
            files = [pickle.loads(file) for file in written["fragment"].to_pylist()]
            yield Written(len(part), batch.activated, batch.moved(codes, self.quantiser), files)


@dataclass(frozen=True)
class RewriteJob:
    """Compacts data files; a :class:`~activeindex.runtime.pool.Job` over tasks of Lance's plan.

    Attributes:
        uri: The data set; of the same name on every machine.
        version: Of the data set, that the plan was made for.
    """

    uri: str
    version: int

    def __call__(self, items: Sequence[Any], workers: LocalEngine) -> Iterator[Any]:
        """Yields what Lance commits for each task."""
        data = lance_library().dataset(self.uri, version=self.version)
        for task in items:
            with lance_errors(self.uri):
                yield task.execute(data)
