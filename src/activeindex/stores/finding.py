"""Image files as queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeindex.errors import InputError
from activeindex.extractors import Extractor
from activeindex.extractors.extraction import features_of_files
from activeindex.images import list_images
from activeindex.running.files import check_file
from activeindex.running.workers import Workers
from activeindex.stores.generation import SearchOptions
from activeindex.stores.records import Record
from activeindex.stores.store import Store


@dataclass(frozen=True)
class Found:
    """What a store has for one query.

    Attributes:
        query: The image file.
        neighbours: Distance (squared with L2) and record, nearest first.
    """

    query: Path
    neighbours: tuple[tuple[float, Record], ...]

    def as_json(self) -> dict[str, Any]:
        """For programs; ``rank`` counts from 0."""
        return {
            "query": str(self.query),
            "neighbours": [
                {
                    "rank": rank,
                    "distance": distance,
                    "id": record.id,
                    "name": record.name,
                    "sha256": record.sha256,
                    "activated": record.activation is not None,
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
    workers: Workers | None = None,
) -> Iterator[Found]:
    """What the store has for each image file, in order.

    Raises:
        UnreadableImageError: At the first file that cannot be decoded.
        InputError: If the features have another dimension than the store's.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
    done = 0
    for features in features_of_files(extractor, files, batch_size, workers or Workers()):
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
            yield Found(files[done], tuple((d, records[i]) for d, i in near if i >= 0))
            done += 1
