"""Image files as queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeindex.errors import InputError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import ExtractionJob, OnUnreadable
from activeindex.images.folder import list_images
from activeindex.indexing.quantiser import Features
from activeindex.runtime.files import check_file
from activeindex.runtime.pool import LocalEngine
from activeindex.stores.generation import SearchOptions
from activeindex.stores.records import Record
from activeindex.stores.store import Store


@dataclass(frozen=True)
class Found:
    """What a store has for one query.

    Attributes:
        query: The image file.
        neighbours: Distance (squared with L2) and record, nearest first.
        unreadable: Why the file could not be looked for; None if it was.
    """

    query: Path
    neighbours: tuple[tuple[float, Record], ...]
    unreadable: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs; ``rank`` counts from 0."""
        if self.unreadable is not None:
            return {"query": str(self.query), "unreadable": self.unreadable}
        return {
            "query": str(self.query),
            "neighbours": [
                {
                    "rank": rank,
                    "distance": distance,
                    "id": record.id,
                    "name": record.name,
                    "sha256": record.sha256,
                    "activated": record.activated,
                    "quantiser": record.generation,
                }
                for rank, (distance, record) in enumerate(self.neighbours)
            ],
        }


def query_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders as the images below them.

    Raises:
        InputError: If something is not there.
    """
    files: list[Path] = []
    for path in given:
        files += list_images(path, "IMAGES") if path.is_dir() else [check_file(path, "IMAGES")]
    return files


def find_images(
    store: Store,
    extractor: Extractor,
    files: Sequence[Path],
    options: SearchOptions,
    batch_size: int = 64,
    workers: LocalEngine | None = None,
    unreadable: OnUnreadable = "refuse",
) -> Iterator[Found]:
    """What the store has for each image file, in order.

    Raises:
        UnreadableImageError: At the first file that cannot be decoded, if ``unreadable`` is
            ``"refuse"``.
        InputError: If the features have another dimension than the store's.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
    batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    results = ExtractionJob(extractor)(batches, workers or LocalEngine())
    for paths, batch in zip(batches, results, strict=True):
        batch.check(unreadable)
        answers = iter(_answers(store, batch.features, options) if len(batch.features) else ())
        for place, path in enumerate(paths):
            if place in batch.unreadable:
                yield Found(path, (), str(batch.unreadable[place]))
            else:
                yield Found(path, next(answers))


def _answers(
    store: Store, features: Features, options: SearchOptions
) -> Iterator[tuple[tuple[float, Record], ...]]:
    """Distance and record of what is nearest to each feature."""
    result = store.search(
        features,
        options.k,
        nprobe=options.nprobe,
        refine=options.refine,
        where=options.where,
    )
    records = {record.id: record for record in store.get(result.ids[result.ids >= 0])}
    for ids, distances in zip(result.ids.tolist(), result.distances.tolist(), strict=True):
        near = zip(distances, ids, strict=True)
        # What was removed since is no answer.
        yield tuple((distance, records[i]) for distance, i in near if i in records)
