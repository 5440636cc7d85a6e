"""Queries: image files, or features of images, and what a store has for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from activeindex.errors import InputError, import_extra
from activeindex.images.folder import list_images
from activeindex.runtime.files import check_file
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.reporting import printable
from activeindex.stores.records import Record

if TYPE_CHECKING:
    from activeindex.extractors.base import Extractor
    from activeindex.extractors.features import OnUnreadable
    from activeindex.indexing.quantiser import Features
    from activeindex.runtime.pool import LocalEngine
    from activeindex.stores.store import Store


class Match(NamedTuple):
    """A stored image that is near a query.

    Attributes:
        distance: Squared Euclidean distance (L2) or inner product (IP).
        record: The image.
    """

    distance: float
    record: Record


@dataclass(frozen=True)
class QueryResult:
    """Nearest stored images of one query; ``str()`` is a table.

    Attributes:
        query: The image file; ``image N`` for the N-th image, from 0, where it is no file.
        matches: The nearest stored images, nearest first.
        unreadable: Why the file could not be searched for; None if it was.
    """

    query: str
    matches: Sequence[Match] = ()
    unreadable: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file; ``rank`` counts from 0."""
        if self.unreadable is not None:
            return {"query": self.query, "unreadable": self.unreadable}
        return {
            "query": self.query,
            "neighbours": [
                {
                    "rank": rank,
                    "distance": distance,
                    "id": record.id,
                    "name": record.name,
                    "sha256": record.sha256,
                    "activated": record.activated,
                    "quantiser": record.quantiser.as_json(),
                }
                for rank, (distance, record) in enumerate(self.matches)
            ],
        }

    def __str__(self) -> str:
        if self.unreadable is not None:
            return printable(f"skipped {self.unreadable}")
        lines = [
            printable(
                f"  {rank:>4}  {distance:.4f}  {record.name}  (id {record.id}, {record.quantiser})"
            )
            for rank, (distance, record) in enumerate(self.matches, start=1)
        ]
        return "\n".join([printable(self.query), *(lines or ["  nothing"])])


class QueryResults(list[QueryResult]):
    """A :class:`QueryResult` for each query, in their order; ``str()`` is a table."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))

    def as_json(self) -> list[dict[str, Any]]:
        """Return what ``activeindex search --json`` prints, a dictionary for each query."""
        return [result.as_json() for result in self]

    def to_pandas(self) -> Any:
        """Return a table with a row for each match: rank, distance, id, name, …, query.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        pandas = import_extra("pandas", "pandas", "to_pandas")
        found = [result for result in self.as_json() if "neighbours" in result]
        return pandas.json_normalize(found, "neighbours", "query")


def query_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, and the images in folders and their subfolders.

    Raises:
        InputError: If something is not there.
    """
    files: list[Path] = []
    for path in given:
        files += list_images(path, "IMAGES") if path.is_dir() else [check_file(path, "IMAGES")]
    return files


def search_files(
    store: "Store",
    extractor: "Extractor",
    files: Sequence[Path],
    k: int = 10,
    *,
    batch_size: int = 64,
    workers: "LocalEngine | None" = None,
    unreadable: "OnUnreadable" = "refuse",
    **options: Any,
) -> Iterator[QueryResult]:
    """Yield what a store has for each image file, in order, while others are extracted.

    Args:
        store: The store.
        extractor: Extractor of the queries.
        files: Image files.
        k: Stored images per query.
        batch_size: Files that are extracted together.
        workers: Worker pool that extracts; this process by default.
        unreadable: Whether to refuse or to skip files that cannot be decoded.
        options: As of :meth:`Store.search_features`.

    Raises:
        UnreadableImageError: If a file cannot be decoded and ``unreadable`` is ``"refuse"``.
        InputError: If the features have another dimension than the store's.
    """
    from activeindex.extractors.features import ExtractionJob
    from activeindex.runtime.pool import LocalEngine

    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
    batches = batches_of(files, batch_size)
    results = ExtractionJob(extractor)(batches, workers or LocalEngine())
    for paths, batch in zip(batches, results, strict=True):
        batch.check(unreadable)
        found: Iterator[list[Match]] = iter(())
        if len(batch.features):
            found = answers(store, batch.features, k, **options)
        for place, path in enumerate(paths):
            if place in batch.unreadable:
                yield QueryResult(str(path), unreadable=str(batch.unreadable[place]))
            else:
                yield QueryResult(str(path), next(found))


def answers(store: "Store", features: "Features", k: int, **options: Any) -> Iterator[list[Match]]:
    """Yield the nearest stored images of each feature; options of :meth:`Store.search_features`."""
    found = store.search_features(features, k, **options)
    records = {record.id: record for record in store.get(found.ids[found.ids >= 0])}
    for ids, distances in zip(found.ids.tolist(), found.distances.tolist(), strict=True):
        near = zip(distances, ids, strict=True)
        # Images that were removed meanwhile are left out.
        yield [Match(distance, records[i]) for distance, i in near if i in records]
