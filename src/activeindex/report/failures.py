"""The queries that are still missed: what was asked, what came instead, and what should have."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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
        run: Its run.
        miss: What was returned.
        label: The edit.
        true_name: The original's name or number.
        returned_name: The name or id of what came first; None if nothing came.
        returned_distance: Of the query to what came first, as :attr:`unit` says.
        true_distance: Of the query to the original's code; nan if it is not known.
        query: The query; None where the released image is not there.
        returned: What came first, or None likewise.
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
        """Where the original was."""
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
        return Failure(
            **{
                **vars(described),
                "query": query and embed(thumbnail(query, _SIDE)),
                "returned": embedded_thumbnail(self._pictures.indexed(miss.returned), _SIDE),
                "true": embedded_thumbnail(self._pictures.original(number), _SIDE),
            }
        )

    def chosen(self, most: int) -> list[Miss]:
        """Missed queries to show: the edits in turn, of each another image where there is one."""
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
    lines: list[tuple[str | int | float, ...]] = [
        (
            *("run", "attack", "attack_param", "image_index", "image", "rank"),
            *("returned_id", "returned", "returned_distance", "true_distance"),
        )
    ]
    for failures in runs:
        for miss in failures.misses:
            row = failures.describe(miss)
            distances = (row.returned_distance, row.true_distance)
            lines.append(
                (
                    row.run,
                    miss.edit[0],
                    "" if miss.edit[1] is None else miss.edit[1],
                    miss.image_index,
                    row.true_name,
                    miss.rank,
                    miss.returned,
                    row.returned_name or "",
                    *("" if math.isnan(value) else f"{value:.5f}" for value in distances),
                )
            )
    return csv_text(lines)
