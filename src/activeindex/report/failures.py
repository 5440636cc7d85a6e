"""Queries that are still missed: the query, the image returned, and the true one."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from activeindex.evaluation.csv_rows import csv_text
from activeindex.evaluation.retrieval import attack_name
from activeindex.evaluation.tables import edit_label
from activeindex.report.pictures import Embedded, Pictures, embed, embedded_thumbnail, thumbnail
from activeindex.report.runs import EUCLIDEAN, Miss, ReportedRun

_SIDE = 176
_Key = tuple[str, float | int | None, int]


@dataclass(frozen=True)
class Failure:
    """One missed query.

    Attributes:
        run: Name of its run.
        miss: The search result.
        label: The edit's label.
        true_name: Name or number of the original.
        returned_name: Name or id of the image that came first; None if nothing came.
        returned_distance: Distance of the query to it, of the run's ``distance_kind``.
        true_distance: Distance of the query to the original's code; nan if it is not known.
        query: The query; None where the released image is not there.
        returned: The image that came first, or None likewise.
        true: The original, or None likewise.
    """

    run: str
    miss: Miss
    label: str
    true_name: str
    returned_name: str | None
    returned_distance: float
    true_distance: float
    query: Embedded | None = None
    returned: Embedded | None = None
    true: Embedded | None = None

    @property
    def explanation(self) -> str:
        """Rank of the original, in words."""
        if not math.isnan(self.miss.true_distance):
            return f"came as number {self.miss.rank + 1}"
        return f"not among the {self.miss.rank} returned"


class Failures:
    """The missed queries of one run.

    Args:
        pictures: The run and its pictures.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.run: ReportedRun = pictures.run
        retrieval = self.run.retrieval
        self.misses: Sequence[Miss] = () if retrieval is None else retrieval.misses
        self._landed: dict[_Key, float] = {
            (attack_name(place.attack), place.attack_param, place.image_index): place.distance
            for place in self.run.places
            # Notes are Euclidean; beside another kind of distance they would mislead.
            if place.test == "retrieval"
            and place.distance is not None
            and self.run.distance_kind == EUCLIDEAN
        }
        images = [] if retrieval is None else np.unique(retrieval.columns.image_index).tolist()
        # Where the number of references is not noted, images are numbered in order of their ids.
        self._numbers = {image: number for number, image in enumerate(images)}

    def number(self, image_index: int) -> int:
        """The number of an image in its set."""
        references = self.run.folder.references
        return self._numbers[image_index] if references is None else image_index - references

    def describe(self, miss: Miss) -> Failure:
        """A missed query in names and distances, without pictures."""
        number = self.number(miss.image_index)
        noted = self._landed.get((*miss.edit, miss.image_index), math.nan)
        returned = None if miss.returned < 0 else self._name_of(miss.returned)
        original = self._pictures.original(number)
        return Failure(
            self.run.name,
            miss,
            edit_label(miss.edit),
            original.name if original else f"image {number}",
            returned,
            self.run.shown_distance(miss.returned_distance),
            noted
            if math.isnan(miss.true_distance)
            else self.run.shown_distance(miss.true_distance),
        )

    def show(self, miss: Miss) -> Failure:
        """A missed query with its pictures."""
        described, number = self.describe(miss), self.number(miss.image_index)
        query = self._pictures.query(number, miss.edit)
        return replace(
            described,
            query=None if query is None else embed(thumbnail(query, _SIDE)),
            returned=embedded_thumbnail(self._pictures.indexed(miss.returned), _SIDE),
            true=embedded_thumbnail(self._pictures.original(number), _SIDE),
        )

    def chosen(self, most: int) -> list[Miss]:
        """Choose missed queries to show: the edits in turn, each with another image if possible."""
        by_edit: dict[str, list[Miss]] = defaultdict(list)
        for miss in self.misses:
            by_edit[edit_label(miss.edit)].append(miss)
        shown: list[Miss] = []
        seen: set[int] = set()
        while len(shown) < most and any(by_edit.values()):
            for waiting in by_edit.values():
                if waiting and len(shown) < most:
                    fresh = (i for i, miss in enumerate(waiting) if miss.image_index not in seen)
                    miss = waiting.pop(next(fresh, 0))
                    seen.add(miss.image_index)
                    shown.append(miss)
        return shown

    def _name_of(self, image_id: int) -> str:
        path = self._pictures.indexed(image_id)
        return path.name if path else f"id {image_id}"


def failures_csv(runs: Sequence[Failures]) -> str:
    """Every missed query of every run as CSV text."""
    lines: list[Sequence[str | int | float | None]] = [
        (
            *("run", "attack", "attack_param", "image_index", "image", "rank"),
            *("returned_id", "returned", "returned_distance", "true_distance"),
        )
    ]
    for failures in runs:
        for miss in failures.misses:
            row = failures.describe(miss)
            distances = (row.returned_distance, row.true_distance)
            shown = ("" if math.isnan(value) else f"{value:.5f}" for value in distances)
            true = (miss.image_index, row.true_name, miss.rank)
            lines.append((row.run, *miss.edit, *true, miss.returned, row.returned_name, *shown))
    return csv_text(lines)
