"""Queries: image files, or features of images, and what a store has for each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from activeindex.decisions.decision import MATCH, REVIEW, Decision, decide
from activeindex.errors import InputError, import_extra
from activeindex.images.folder import list_images
from activeindex.indexing.search import EFFORT, Visit
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
        score: Normalised similarity; None where the image's quantiser is not calibrated.
        expected_false_matches: Images of the store that score as much by chance, likewise.
    """

    distance: float
    record: Record
    score: float | None = None
    expected_false_matches: float | None = None


@dataclass(frozen=True)
class QueryResult:
    """Nearest stored images of one query; ``str()`` is a table.

    Attributes:
        query: The image file; ``image N`` for the N-th image, from 0, where it is no file.
        matches: The nearest stored images, nearest first.
        unreadable: Why the file could not be searched for; None if it was.
        decision: Whether the surest match is a copy; None in a store without a calibration, and
            where hits of a generation without one could be a copy.
        searched: Share of the store that was visited.
    """

    query: str
    matches: Sequence[Match] = ()
    unreadable: str | None = None
    decision: Decision | None = None
    searched: Visit | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file; ``rank`` counts from 0."""
        if self.unreadable is not None:
            return {"query": self.query, "unreadable": self.unreadable}
        return {
            "query": self.query,
            "decision": self.decision,
            "matches": [
                {
                    "id": match.record.id,
                    "name": match.record.name,
                    "distance": match.distance,
                    "score": match.score,
                    "expected_false_matches": match.expected_false_matches,
                }
                for match in self.matches
            ],
            "searched": self.searched and self.searched.as_json(),
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
                for rank, (distance, record, *_) in enumerate(self.matches)
            ],
        }

    def __str__(self) -> str:
        if self.unreadable is not None:
            return printable(f"skipped {self.unreadable}")
        lines = [
            printable(
                f"  {rank:>4}  {match.distance:.4f}  {_shown(match.expected_false_matches)}"
                f"{match.record.name}  (id {match.record.id}, {match.record.quantiser})"
            )
            for rank, match in enumerate(self.matches, start=1)
        ]
        decided = f": {_IN_WORDS[self.decision]}" if self.decision else ""
        return "\n".join([printable(self.query) + decided, *(lines or ["  nothing"])])


_IN_WORDS: dict[Decision, str] = {
    "match": "a copy",
    "review": "perhaps a copy, to be looked at",
    "none": "no copy",
}


def _shown(expected: float | None) -> str:
    return "" if expected is None else f"{expected:.1e} by chance  "


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
        readable = [str(path) for n, path in enumerate(paths) if n not in batch.unreadable]
        found = answers(store, readable, batch.features, k, **options)
        for place, path in enumerate(paths):
            if place in batch.unreadable:
                yield QueryResult(str(path), unreadable=str(batch.unreadable[place]))
            else:
                yield next(found)


def answers(
    store: "Store",
    names: Sequence[str],
    features: "Features",
    k: int,
    *,
    match: float = MATCH,
    review: float = REVIEW,
    effort: int = EFFORT,
    nprobe: int | None = None,
    **options: Any,
) -> Iterator[QueryResult]:
    """Yield what a store has for each feature.

    Args:
        store: The store.
        names: Names of the queries.
        features: Their features ``(n, d)``.
        k: Stored images per query.
        match: Expected false matches up to which a hit is a match.
        review: Expected false matches up to which a hit is worth a look.
        effort: As of :meth:`Store.search_features`.
        nprobe: Likewise.
        options: Likewise.

    Raises:
        InputError: If a calibration is not of the store.
    """
    if not len(features):
        return
    if not 0 <= match <= review:
        raise InputError(f"match: expected 0 to the bound of review ({review:g}), found {match:g}")
    k = min(k, max(1, store.count()))  # Any number may be asked for.
    found = store.search_features(features, k, effort=effort, nprobe=nprobe, **options)
    records = {record.id: record for record in store.get(found.ids[found.ids >= 0])}
    visit, images, calibrations = store.visit(effort, nprobe), store.codes(), store.calibrations()
    refined = options.get("refine", 0) > 0
    usual = {key: each.usual_similarity(features) for key, each in calibrations.items()}
    rows = zip(names, found.ids.tolist(), found.distances.tolist(), strict=True)
    for place, (name, ids, distances) in enumerate(rows):
        matches = []
        # Images that were removed meanwhile are left out.
        near = zip(distances, ids, strict=True)
        for distance, record in ((d, records[i]) for d, i in near if i in records):
            key = record.quantiser.sha256
            if key not in calibrations:
                matches.append(Match(distance, record))
                continue
            score = calibrations[key].similarity(distance) - usual[key][place]
            chance = calibrations[key].expected_false_matches(score, images, refined=refined)
            matches.append(Match(distance, record, float(score), float(chance)))
        known = [m.expected_false_matches for m in matches if m.expected_false_matches is not None]
        decision: Decision | None = decide(min(known, default=math.inf), match, review)
        if not calibrations or (decision == "none" and len(known) < len(matches)):
            decision = None  # Of the hits that are not calibrated nothing is known.
        yield QueryResult(name, matches, None, decision, visit)
