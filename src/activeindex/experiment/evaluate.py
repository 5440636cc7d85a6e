"""Evaluation of pictures that are already released, activated by this program or by any other.

The codes of the originals are stored, copies of the released pictures are searched for: the second
half of an experiment (:mod:`~activeindex.experiment.run`), through the same queries and searches.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from activeindex import __version__
from activeindex.activation.records import RECORDS_FILE
from activeindex.edits.differentiable import check_fixed_views
from activeindex.edits.families import RandomEdit
from activeindex.edits.lists import FIXED_LIST
from activeindex.edits.named import Edit, as_edit
from activeindex.errors import ActiveIndexError, InputError, import_extra
from activeindex.evaluation.csv_files import (
    PLACES_FILE,
    PLACES_HEADER,
    RETRIEVAL_HEADER,
    QueryRecord,
    format_row,
)
from activeindex.evaluation.rendering import recall_text
from activeindex.evaluation.retrieval import RetrievalResult
from activeindex.evaluation.tables import RecallTable
from activeindex.experiment.folder import RETRIEVAL_FILE, RUN_FILE
from activeindex.experiment.pairs import Pair, folder_of, pair_pictures
from activeindex.experiment.queries import Query, QueryJob, QueryTask
from activeindex.experiment.searching import Originals, Searcher, repeated_images
from activeindex.experiment.times import TIMES_FILE, Stages, StageTimes, Stopwatch
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import ExtractorLike, resolve_extractor
from activeindex.extractors.feature_files import (
    FeatureFile,
    FeaturesLike,
    ImageFeatures,
    as_features,
)
from activeindex.extractors.features import ExtractionJob, Source
from activeindex.identity import check_extractors
from activeindex.images.coerce import Images
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import check_outside
from activeindex.images.levels import Pixels
from activeindex.images.quality import Quality, measure_quality
from activeindex.indexing.artefact import Manifest, TrainedIndex
from activeindex.indexing.coerce import IndexLike, as_quantiser
from activeindex.indexing.packaged import default_index
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.search import add
from activeindex.indexing.search import filled as filled_copy
from activeindex.runtime.files import write_json, write_text
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import Engine, LocalEngine, pickled_for_workers
from activeindex.runtime.reporting import SILENT, Progress, Reporter, counted

EditLike = Edit | str | RandomEdit
"""An edit, its name (``"hflip"``, ``"jpeg 50"``), or a function of an RGB Pillow image and a NumPy
generator that returns an RGB Pillow image."""

_TOGETHER = 16
"""Pictures whose queries are made and searched for together, as by default in an experiment."""
_EXTRACTED = 32
"""Originals that go through the extractor together, as in extract_fts on a CPU."""
_QUERIES = 128
"""Queries that go through the extractor together, as by default in an experiment."""


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Result of :func:`evaluate`; printed, it is the table of recall per edit.

    Attributes:
        names: The originals' names, or their numbers where they come from no file.
        rows: One per query: the neighbours found and the rank of the original.
        positions: One per query, in the same order: its cell, its distances to reconstructions.
        quality: The distortion of each released picture against its original; None where the two
            have different sizes.
        distances_before: ``(images,)``: distances of the originals' features to the
            reconstructions of their codes.
        references: Number of images in the index before the originals: the first original's id.
    """

    names: tuple[str, ...]
    rows: tuple[RetrievalResult, ...]
    positions: tuple[QueryRecord, ...]
    quality: tuple[Quality | None, ...]
    distances_before: npt.NDArray[np.float32]
    references: int

    @cached_property
    def recall(self) -> RecallTable:
        """Mean recall and average precision per edit.

        Average precision has one true image per query: 1 / rank, and 1 / (k + 1) for an original
        that is not among the k neighbours.
        """
        return RecallTable.from_rows(self.rows)

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        distortion = self.distortion
        lines = [f"{counted(len(self), 'image')}: {distortion['unchanged']} unchanged"]
        if distortion["psnr"] is not None:
            figures = "PSNR {psnr:.2f} dB, SSIM {ssim:.3f}, L-inf {linf:.1f}".format(**distortion)
            lines.append(f"{figures} of the others")
        if distortion["resized"]:
            lines.append(f"{distortion['resized']} of another size than their originals")
        return f"{recall_text({'': self.recall})}\n{'; '.join(lines)}"

    @property
    def distortion(self) -> dict[str, Any]:
        """Mean PSNR, SSIM and L-infinity of the changed pictures, and counts of the others."""
        known = [quality for quality in self.quality if quality is not None]
        changed = [quality for quality in known if quality.linf]
        means: dict[str, Any] = {
            key: float(np.mean([getattr(quality, key) for quality in changed])) if changed else None
            for key in ("psnr", "ssim", "linf")
        }
        counts = {"unchanged": len(known) - len(changed), "resized": len(self) - len(known)}
        return {**means, **counts}

    @property
    def has_changes(self) -> bool:
        """True if any released picture differs from its original."""
        return bool(self.distortion["unchanged"] < len(self))

    def as_json(self) -> dict[str, Any]:
        """The tables as values for JSON."""
        recall = [vars(row) for row in (*self.recall.rows, self.recall.average)]
        counts = {"images": len(self), "references": self.references}
        return {**counts, **self.distortion, "recall": recall}

    def to_pandas(self) -> Any:
        """A data frame with a row per query.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        lines = []
        for row, position in zip(self.rows, self.positions, strict=True):
            number = row.image_index - self.references
            line = {"name": self.names[number], **vars(position), "rank": row.rank, "ap": row.ap}
            recall = {f"r@{n}": row.recall_at(n) for n in (1, 10, 100)}
            lines.append({**line, **recall, **_figures(self.quality[number])})
        return import_extra("pandas", "pandas", "to_pandas").DataFrame(lines)

    def save(self, folder: str | os.PathLike[str], notes: dict[str, Any] | None = None) -> None:
        """Write the files of a run, for ``table``, ``compare`` and ``report``.

        Args:
            folder: Gets ``retr_df.csv``, ``queries.csv`` and ``run.json``, and where pictures were
                changed ``activation.jsonl`` with their distortion.
            notes: Further contents of ``run.json``.

        Raises:
            InputError: If the folder holds a run already.
            OutputError: If a file cannot be written.
        """
        path = Path(folder)
        _check_new(path)
        write_text(path / RETRIEVAL_FILE, RETRIEVAL_HEADER + "".join(map(format_row, self.rows)))
        places = (position.line() for position in self.positions)
        write_text(path / PLACES_FILE, PLACES_HEADER + "".join(places))
        counts = {"references": self.references, "images": len(self)}
        write_json(path / RUN_FILE, {**(notes or {}), "version": __version__, **counts})
        if records := self._records():
            write_text(path / RECORDS_FILE, "".join(f"{json.dumps(line)}\n" for line in records))

    def _records(self) -> list[dict[str, Any]]:
        """A record per released picture, for the distortion in tables and reports.

        Empty if nothing was changed, which is a passive run, and if the released pictures
        themselves were not searched for (the edit ``none``) or have other sizes.
        """
        after = {
            row.image_index - self.references: position.distance
            for row, position in zip(self.rows, self.positions, strict=True)
            if row.attack == "none"
        }
        if not self.has_changes or None in self.quality or len(after) < len(self):
            return []
        return [
            {
                "image": number,
                "name": name,
                **_figures(quality),
                "distance_before": float(self.distances_before[number]),
                "distance_after": after[number],
            }
            for number, (name, quality) in enumerate(zip(self.names, self.quality, strict=True))
        ]


def evaluate(
    originals: Images,
    released: Images,
    *,
    index: IndexLike | None = None,
    extractor: ExtractorLike = None,
    references: FeaturesLike | None = None,
    edits: EditLike | Sequence[EditLike] = FIXED_LIST,
    kneighbors: int = 100,
    nprobe: int = 1,
    search_params: str | None = None,
    descriptor_views: int = 0,
    seed: int = 0,
    force: bool = False,
    output_dir: str | os.PathLike[str] | None = None,
    workers: Engine | None = None,
    reporter: Reporter = SILENT,
    command: str | None = None,
) -> EvaluationResult:
    """Measure how often edited copies of released pictures are found by their originals' codes.

    The pictures may have been activated by this program or by any other, or not at all: with the
    originals given twice the result is the passive arm of an experiment.

    Args:
        originals: The originals, a folder or images of any kind
            (:func:`~activeindex.images.coerce.iterate_pictures`). Their features are stored.
        released: The released pictures. Those of two folders are paired by their names relative to
            the folders, with or without suffix, or in sorted order where no names agree and the
            counts are equal; images by their order.
        index: The index to search: the folder or file of a trained one, a quantiser, or any FAISS
            index; by default the one that this package ships. It is copied; images that it holds
            already are references, too.
        extractor: The extractor, its name or its file; the default one if it is None.
        references: Features of other images to store before the originals: a feature file or its
            folder, an array ``(n, d)``, or the result of ``extract``.
        edits: Edits of the released pictures, one or several: the list of the paper by default,
            names as of :func:`~activeindex.edits.named.as_edit`, or functions.
        kneighbors: Neighbours per query.
        nprobe: Inverted lists that a search visits.
        search_params: Other search-time parameters by FAISS's names, e.g. ``"efSearch=64"``.
        descriptor_views: Views whose features are averaged with each original's before it is
            stored, as many as the pictures were activated with.
        seed: Seeds the random edits, together with the number of each picture.
        force: Use an index or references of another extractor.
        output_dir: Gets the files of a run; see :meth:`EvaluationResult.save`.
        workers: Engine that computes; this process by default.
        reporter: Gets the progress.
        command: The command typed, for ``times.jsonl``.

    Raises:
        InputError: If the pictures cannot be paired, the index or the references do not fit the
            extractor, an option is out of range, or ``output_dir`` holds a run already.
        UnreadableImageError: At the first picture that cannot be decoded.
        NoTargetError: If the index cannot reconstruct features.

    Example:
        >>> result = evaluate("originals", "released")  # doctest: +SKIP
        >>> print(result)  # doctest: +SKIP
        >>> result.recall.average.r_at_1  # doctest: +SKIP
        0.75
    """
    if kneighbors < 1:
        raise InputError(f"kneighbors: expected 1 or more, found {kneighbors}")
    check_fixed_views("descriptor_views", descriptor_views)
    given = [edits] if isinstance(edits, str) or callable(edits) else edits
    chosen = tuple(map(as_edit, given))
    if not chosen:
        raise InputError("edits: expected one or more, found none")
    pairs = pair_pictures(originals, released)
    folders = folder_of(originals), folder_of(released)
    if output_dir is not None:
        _check_new(Path(output_dir), *folders)
    extractor = resolve_extractor(extractor)
    others = None if references is None else as_features(references, "references")
    quantiser, manifest = _fitting(index, others, extractor, force)
    held = index if isinstance(index, faiss.Index) else quantiser.index
    parts = [] if others is None else [others.values]
    filled = filled_copy(held, parts, nprobe, search_params)

    first_id, watch, engine = filled.ntotal, Stopwatch(), workers or LocalEngine()
    with watch.stage("originals", len(pairs)), reporter.stage("originals", len(pairs)) as progress:
        sources = [pair.original for pair in pairs]
        own = stored = _features(sources, extractor, 0, engine, progress)
        if descriptor_views:
            stored = _features(sources, extractor, descriptor_views, engine)
    add(filled, stored)
    if others is not None and (same := repeated_images(others.values, stored)):
        reporter.line(f"warning: references: hold {same}")
    held_against = Originals(stored, quantiser, first_id)
    searcher = Searcher(filled, held_against, kneighbors, _QUERIES, watch)
    job = _ReleasedJob(QueryJob(extractor, _QUERIES, seed), chosen)
    found: list[tuple[Any, QueryRecord]] = []
    quality: list[Quality | None] = []
    if not _picklable(chosen):
        engine = LocalEngine()
    with reporter.stage("queries", len(pairs)) as progress:
        batches = engine.run(job, batches_of(pairs, _TOGETHER))
        for batch, (qualities, queries, stages) in enumerate(batches):
            watch.stages.extend(stages)
            quality += qualities
            found += searcher.find(queries, "retrieval", batch)
            progress.advance(len(qualities))
    rows, positions = zip(*found, strict=True)
    before = held_against.distances(own, np.arange(len(pairs)))
    names = tuple(pair.name for pair in pairs)
    result = EvaluationResult(names, rows, positions, tuple(quality), before, first_id)
    if output_dir is not None:
        settings = {
            "data_dir": folders[0],
            "released_dir": folders[1],
            "index": {
                "idx_factory": manifest and manifest.idx_factory,
                "quant": "IP" if filled.metric_type == faiss.METRIC_INNER_PRODUCT else "L2",
                "nprobe": nprobe,
                "search_params": search_params,
                "fts_reference_path": str(others.path) if isinstance(others, FeatureFile) else None,
            },
            "evaluation": {"kneighbors": kneighbors, "edits": [str(e) for e in chosen]},
            "descriptor_views": descriptor_views,
            "active": result.has_changes,
            "seed": seed,
        }
        notes = {
            "settings": settings,
            "extractor": extractor.identity.as_json(),
            "quantiser": quantiser.identity and quantiser.identity.as_json(),
            "released": [str(pair.released) for pair in pairs if folders[1]],
        }
        times = StageTimes(Path(output_dir) / TIMES_FILE, command, extractor.device)
        result.save(output_dir, notes)
        times.stages.extend(watch.stages)
        times.commit()
    return result


def _check_new(output_dir: Path, *folders: str | None) -> None:
    for folder in filter(None, folders):
        check_outside(output_dir, Path(folder))
    for name in (RUN_FILE, RETRIEVAL_FILE):
        if (output_dir / name).exists():
            raise InputError(f"output_dir {output_dir}: expected one without a run, found {name}")


def _fitting(
    index: IndexLike | None,
    references: FeatureFile | ImageFeatures | None,
    extractor: Extractor,
    force: bool,
) -> tuple[Quantiser, Manifest | None]:
    """The quantiser of an index that fits the extractor, and its manifest if it has one."""
    if index is None:
        index = default_index(extractor.identity)
    elif isinstance(index, str | os.PathLike):
        index = TrainedIndex.read(Path(index))
    manifest = index.manifest if isinstance(index, TrainedIndex) else None
    quantiser = as_quantiser(index)
    trained_on = manifest.extractor if manifest is not None else None
    known = [("index", quantiser.dimension, trained_on)]
    if references is not None:
        known.append(("references", references.values.shape[1], references.extractor))
    for name, dimension, origin in known:
        if dimension != extractor.dimension:
            raise InputError(
                f"{name}: expected features of dimension {extractor.dimension}, as those of "
                f"{extractor.identity.name}, found dimension {dimension}"
            )
        if not force:
            check_extractors(name, origin, extractor.identity)
    return quantiser, manifest


def _features(
    sources: Sequence[Source],
    extractor: Extractor,
    views: int,
    engine: Engine,
    progress: Progress | None = None,
) -> Features:
    """Features ``(n, d)`` of originals, averaged with those of views."""
    size = _EXTRACTED if extractor.device.type == "cpu" else _QUERIES
    parts = []
    job = ExtractionJob(extractor, descriptor_views=views)
    for batch in engine.run(job, batches_of(sources, size)):
        batch.check("refuse")
        parts.append(batch.features)
        if progress is not None:
            progress.advance(len(batch.features))
    return np.concatenate(parts)


@dataclass(frozen=True)
class _ReleasedJob:
    """Distortion and queries of released pictures; a ``runtime.pool.Job``."""

    query: QueryJob
    edits: tuple[Edit, ...]

    def __call__(
        self, items: Sequence[Sequence[Pair]], workers: LocalEngine
    ) -> Iterator[tuple[list[Quality | None], list[Query], Stages]]:
        """Yield those of each batch, and how long they took."""
        reading = partial(_read, most=self.query.max_pixels)
        read = workers.map(reading, chain.from_iterable(items), ahead=_TOGETHER)
        for batch in items:
            watch = Stopwatch()
            with watch.stage("read", len(batch)):
                pixels, qualities = [], []
                for result in (next(read) for _ in batch):
                    if isinstance(result, ActiveIndexError):
                        raise result
                    pixels.append(result[0])
                    qualities.append(result[1])
            tasks = [
                QueryTask(picture, edit, pair.number)
                for edit in self.edits
                for pair, picture in zip(batch, pixels, strict=True)
            ]
            yield qualities, self.query.queries(tasks, workers, watch), watch.stages


def _read(pair: Pair, most: int) -> tuple[Pixels, Quality | None] | ActiveIndexError:
    """Read and compare two pictures in a worker, which returns a user's error as a value."""
    try:
        original, released = (
            np.asarray(read_rgb(source, most=most)) if isinstance(source, Path) else source
            for source in (pair.original, pair.released)
        )
    except ActiveIndexError as error:
        return error
    same = original.shape == released.shape
    return released, measure_quality(original, released) if same else None


def _picklable(edits: tuple[Edit, ...]) -> bool:
    """True if worker processes can load the edits; not those of a script or notebook."""
    try:
        pickled_for_workers(edits)
    except Exception:  # Objects refuse to be pickled with anything.
        return False
    return True


def _figures(quality: Quality | None) -> dict[str, float | None]:
    """PSNR, SSIM and L-infinity; None for an infinite PSNR, and for all without a quality."""
    if quality is None:
        return dict.fromkeys(("psnr", "ssim", "linf"))
    return {**vars(quality), "psnr": quality.psnr if math.isfinite(quality.psnr) else None}
