"""Calibration of a store's distances: scores, expected false matches, decisions.

The *score* of a hit is its similarity to the query, less the mean similarity of the query to its
nearest neighbours in a background that has no picture in common with the store (the normalisation
of the Image Similarity Challenge 2021: a query that is near everything has to be nearer to its
original). The *expected false matches* of a hit among N images are N times the probability that a
pair of different pictures scores as much; that is measured between edited background pictures and
the codes of other background pictures. It grows with the store by itself.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from activeindex.decisions.tail import Tail
from activeindex.errors import InputError, library_errors, reason_of
from activeindex.extractors.feature_files import check_values
from activeindex.identity import ExtractorIdentity, QuantiserIdentity, same
from activeindex.runtime.files import Types, check_types, parse_json, whole_file

Features = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
CALIBRATION_FILE = "calibration.safetensors"
"""Name of the file in the folder of a generation."""
NEIGHBOURS = 3
"""Background pictures nearest to a query that its scores are normalised by."""
_FORMAT = "activeindex calibration 1"
_TAILS = ("of_codes", "of_features")
_TABLES = ("scores", "survival")
_BACKGROUND: Types = {"source": str, "pictures": int, "queries": int, "stored": int}


class Background(NamedTuple):
    """Origin of a calibration.

    Attributes:
        source: Where the pictures are from, for people.
        pictures: Number of pictures.
        queries: Number of edited queries that the tail was measured with.
        stored: Images in the store at the time; 0 in the calibration of the package.
    """

    source: str
    pictures: int
    queries: int
    stored: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores and expected false matches of one extractor's features under one quantiser.

    Attributes:
        extractor: The extractor.
        quantiser: The quantiser of the codes.
        largest_first: True if larger distances are nearer (inner products).
        normalising: ``(n, d)``: features of the background pictures that scores are normalised by.
        of_codes: Tail of the scores of distances to codes.
        of_features: Tail of the scores of distances to features (``refine``).
        background: What it was made from.
    """

    extractor: ExtractorIdentity
    quantiser: QuantiserIdentity
    largest_first: bool
    normalising: Features
    of_codes: Tail
    of_features: Tail
    background: Background

    def scores(self, queries: Features, distances: npt.NDArray[np.floating]) -> Values:
        """Return the scores ``(n, k)`` of hits; a higher score is surer.

        Args:
            queries: Features ``(n, d)``.
            distances: ``(n, k)``, of the search.
        """
        return self.similarity(distances) - self.usual_similarity(queries)[:, None]

    def similarity(self, distances: npt.ArrayLike) -> Values:
        """Return the similarities of distances, of any shape."""
        return similarity(np.asarray(distances), self.largest_first)

    def usual_similarity(self, queries: Features) -> Values:
        """Return what is subtracted from the similarities of each of the queries ``(n, d)``."""
        return usual_similarity(queries, self.normalising, self.largest_first)

    def expected_false_matches(
        self, scores: npt.ArrayLike, images: int, *, refined: bool = False
    ) -> Values:
        """Return how many of a store's ``images`` score as much by chance, for each score.

        Args:
            scores: Of hits, any shape.
            images: Number of images in the store.
            refined: True for distances to features instead of codes.
        """
        tail = self.of_features if refined else self.of_codes
        return images * tail.probability(np.asarray(scores))

    def check(
        self, path: Path, extractor: ExtractorIdentity | None, quantiser: QuantiserIdentity
    ) -> None:
        """Check that the calibration is of an extractor and a quantiser.

        Raises:
            InputError: If it is not; ``path`` is named.
        """
        for expected, found in ((extractor, self.extractor), (quantiser, self.quantiser)):
            if not same(expected, found):
                raise InputError(
                    f"{path}: expected a calibration of {expected}, found one of {found}; "
                    "calibrate again"
                )

    def claim(self) -> str:
        """Say what was shown, and what is extrapolated."""
        pictures, queries = self.background.pictures // 2, self.background.queries
        shown = 3 / queries * max(self.background.stored, 1) / pictures
        return (
            f"{queries:,} edited queries and {pictures:,} other pictures: expected false matches "
            f"below {shown:.1e} are extrapolated"
        )

    def fits(self, images: int) -> bool:
        """True for a store of half to ten times the ``images`` that it was made for.

        That of the package is for stores of any size.
        """
        made = self.background.stored
        return made == 0 or made / 2 <= images <= made * 10

    def save(self, path: Path) -> None:
        """Write a file of safetensors, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {"normalising": self.normalising}
        note: dict[str, Any] = {
            "format": _FORMAT,
            "extractor": self.extractor.as_json(),
            "quantiser": self.quantiser.as_json(),
            "largest_first": self.largest_first,
            "background": self.background._asdict(),
        }
        for name in _TAILS:
            note[name] = asdict(getattr(self, name))
            tensors |= {f"{name}.{key}": note[name].pop(key) for key in _TABLES}
        with whole_file(path) as beside:
            beside.write_bytes(save(tensors, {"calibration": json.dumps(note)}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file of :meth:`save`.

        Raises:
            InputError: If it is not one.
        """
        from safetensors import safe_open

        expected = f"{path}: expected a calibration; calibrate again"
        with library_errors(expected), safe_open(path, "numpy") as file:
            noted = (file.metadata() or {})["calibration"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        try:
            note = parse_json(noted)
            if note["format"] != _FORMAT:
                raise ValueError(f"format {note['format']!r}")
            of_codes, of_features = (
                Tail(**note[name], **{key: tensors[f"{name}.{key}"] for key in _TABLES})
                for name in _TAILS
            )
            extractor = ExtractorIdentity.from_json(note["extractor"], where=path)
            (quantiser,) = QuantiserIdentity.from_json(note["quantiser"], where=path)
            normalising = tensors["normalising"]
            check_types(str(path), note["background"], _BACKGROUND)
            background = Background(**note["background"])
            sound = of_codes.is_sound() and of_features.is_sound()
            if extractor is None or not (sound and normalising.ndim == 2 and len(normalising)):
                raise ValueError("a value is not one of a calibration")
            check_values(normalising, str(path))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{expected} ({reason_of(error)})") from None
        return cls(
            extractor,
            quantiser,
            bool(note["largest_first"]),
            normalising,
            of_codes,
            of_features,
            background,
        )


def similarity(distances: npt.NDArray[np.floating], largest_first: bool) -> Values:
    """Return inner products as they are, and squared distances with the other sign."""
    values = np.asarray(distances, dtype=np.float64)
    return values if largest_first else -values


def usual_similarity(
    queries: Features, background: Features, largest_first: bool, *, own: bool = False
) -> Values:
    """Return the mean similarity ``(n,)`` of queries to their nearest background pictures.

    Args:
        queries: ``(n, d)``.
        background: ``(m, d)``.
        largest_first: True for inner products.
        own: True if the queries are the background, and none counts as its own neighbour.
    """
    near = similarity(distances_between(queries, background, largest_first), largest_first)
    if own:
        np.fill_diagonal(near, -np.inf)
    count = min(NEIGHBOURS, len(background) - own)
    return np.asarray(np.partition(near, -count, axis=1)[:, -count:].mean(axis=1))


def distances_between(queries: Features, others: Features, largest_first: bool) -> Values:
    """Return the squared Euclidean distances, or inner products, ``(n, m)`` of features."""
    products: Values = queries.astype(np.float64) @ others.T.astype(np.float64)
    if largest_first:
        return products
    lengths = np.square(queries, dtype=np.float64).sum(axis=1)[:, None]
    squared = lengths + np.square(others, dtype=np.float64).sum(axis=1) - 2 * products
    return np.asarray(np.maximum(squared, 0.0))
