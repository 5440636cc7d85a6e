"""Jobs of a Lance data set; the process that runs the store alone commits what they make.

Workers write *fragments* (data files) and index them in *segments*. Nobody sees either before it is
committed: one that was written twice, because its worker died, is there once.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from activeindex.errors import MissingExtraError
from activeindex.extractors.feature_files import map_features
from activeindex.indexing.quantiser import Quantiser
from activeindex.runtime.pool import LocalEngine
from activeindex.stores.ingest import Added, CodedPart, Part, code_parts
from activeindex.stores.lance.model import LanceModel, lance_errors, lance_library, vectors
from activeindex.stores.records import BLOBS, CHECKSUMS, COLUMNS, TEXTS

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "feature"
INDEX = "codes"


def record_table(part: CodedPart) -> "pa.Table":
    """Rows of the data set, one per image; those of schema 1 have some of the columns."""
    import pyarrow as pa

    types = {name: pa.string() if name in TEXTS else pa.float64() for name in COLUMNS}
    types |= {**dict.fromkeys(BLOBS, pa.binary()), **dict.fromkeys(CHECKSUMS, pa.int64())}
    del types["released_feature"]
    released = part.columns["released_feature"]
    missing = np.array([value is None for value in released], bool)
    zeros = bytes(4 * part.features.shape[1])
    values = np.frombuffer(b"".join(zeros if value is None else value for value in released), "<f4")
    return pa.table(
        {
            "id": pa.array(part.ids, pa.int64()),
            **{name: pa.array(part.columns[name], kind) for name, kind in types.items()},
            "code": pa.array([code.tobytes() for code in part.codes], pa.binary()),
            COLUMN: vectors(part.features),
            "released_feature": vectors(values.reshape(part.features.shape), missing),
        }
    )


def check_lance_ray() -> None:
    """Check that lance-ray is installed, which writes fragments.

    Raises:
        MissingExtraError: If it is not.
    """
    if find_spec("lance_ray") is None:
        raise MissingExtraError("lance-ray", "lance-ray", "adding to a lance: store on Ray")


@dataclass(frozen=True)
class FragmentJob:
    """Codes parts of a feature file and writes them; a :class:`~activeindex.runtime.pool.Job`.

    An item is the id of a part's first image and the part. Features are read and codes written
    where the job runs.

    Attributes:
        uri: The data set; it and the next two have the same name on every machine.
        features: The feature file.
        data_dir: Folder of the originals, to hash those without a record; None to hash none.
        shape: Shape of the features, ``(n, d)``.
        quantiser: The quantiser that codes.
        columns: Columns of the data set.
    """

    uri: str
    features: Path
    data_dir: Path | None
    shape: tuple[int, ...]
    quantiser: Quantiser
    columns: tuple[str, ...]

    def __call__(
        self, items: Sequence[tuple[int, Part]], workers: LocalEngine
    ) -> Iterator[tuple[Added, list[Any]]]:
        """Yield the result of each part, and its fragments."""
        lance_library()
        check_lance_ray()
        from lance_ray import LanceFragmentWriter

        # None: in the format of the data set.
        write = LanceFragmentWriter(self.uri, use_legacy_format=None)
        values = map_features(self.features, "FTS", self.shape)
        for added, part in code_parts(self.quantiser, values, items, self.data_dir):
            with lance_errors(self.uri):
                written = write(record_table(part).select(self.columns))
            yield added, [pickle.loads(file) for file in written["fragment"].to_pylist()]


@dataclass(frozen=True)
class SegmentJob:
    """Indexes fragments; a :class:`~activeindex.runtime.pool.Job`.

    An item is a few fragments, its result the segment that covers them.

    Attributes:
        uri: The data set; it has the same name on every machine.
        version: Version of the data set that has these fragments.
        model: Centroids and codebook of every segment.
    """

    uri: str
    version: int
    model: LanceModel

    def __call__(self, items: Sequence[Sequence[int]], workers: LocalEngine) -> Iterator[Any]:
        """Yield the segment of each item."""
        lance, options = lance_library(), self.model.options()
        for fragments in items:
            with lance_errors(self.uri):
                yield lance.dataset(self.uri, version=self.version).create_index_uncommitted(
                    COLUMN, "IVF_PQ", name=INDEX, fragment_ids=list(fragments), replace=True,
                    **options,
                )  # fmt: skip


@dataclass(frozen=True)
class RewriteJob:
    """Compacts fragments; a :class:`~activeindex.runtime.pool.Job` over tasks of Lance's plan.

    Attributes:
        uri: The data set; it has the same name on every machine.
        version: Version of the data set that the plan was made for.
    """

    uri: str
    version: int

    def __call__(self, items: Sequence[Any], workers: LocalEngine) -> Iterator[Any]:
        """Yield what Lance commits for each task."""
        data = lance_library().dataset(self.uri, version=self.version)
        for task in items:
            with lance_errors(self.uri):
                yield task.execute(data)
