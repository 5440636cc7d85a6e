"""The published figures, to stand beside a run of the same setting.

Fernandez, Douze, Jégou, Furon: Active Image Indexing, ICLR 2023 (arXiv:2210.10620). R@1 on DISC21:
10,000 images among a million, features of ``sscd_disc_mixup`` on squares of 288 pixels.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from activeindex.evaluation.retrieval import EditKey
from activeindex.evaluation.tables import PUBLISHED_EDITS
from activeindex.identity import ExtractorIdentity

CITATION = "Fernandez et al., Active Image Indexing, ICLR 2023 (arXiv:2210.10620)"
COLLECTION = "DISC21, 10,000 images among 1,000,000"
EXTRACTOR = "sscd_disc_mixup"
INPUT_SIZE = 288

Arm = Literal["passive", "active"]
"""The two arms of an experiment."""


@dataclass(frozen=True)
class PublishedRun:
    """One line of the published table."""

    index: str
    """The index as the table names it."""
    arm: Arm
    r_at_1: dict[EditKey, float]
    """By the edits of :data:`~activeindex.evaluation.tables.PUBLISHED_EDITS`."""
    average: float
    micro_ap: float | None = None
    """Of copy detection, where it is published."""
    cell_kept: float | None = None
    """Share of queries under a random composition that keep their coarse cell."""


# Of each index: its factory strings, and R@1 of the passive and the active arm by the edits of
# PUBLISHED_EDITS, the average last.
_TABLE = {
    "IVF4096,PQ8x8": (
        r"IVF4096,PQ8(x8)?",
        (1, 0.73, 0.38, 0.74, 0.29, 0.63, 0.52, 0.70, 0.08, 0.16, 0.15, 0.75, 0.11, 0.13, 0.46),
        (1, 1, 0.95, 1, 0.92, 1, 0.97, 0.99, 0.11, 0.55, 0.32, 1, 0.35, 0.32, 0.75),
    ),
    "IVF1024": (
        r"IVF1024(,Flat)?",
        (1, 0.88, 0.65, 0.88, 0.54, 0.79, 0.62, 0.86, 0.44, 0.57, 0.49, 0.84, 0.46, 0.30, 0.66),
        (1, 1, 0.98, 1, 0.96, 1, 0.98, 1, 0.54, 0.92, 0.69, 1, 0.87, 0.47, 0.89),
    ),
    "PCA+LSH": (
        r"PCAR?\d+,LSH\w*",
        (1, 1, 0.89, 1, 0.73, 0.98, 0.95, 0.99, 0.26, 0.62, 0.57, 1, 0.60, 0.27, 0.78),
        (1, 1, 0.99, 1, 0.96, 1, 0.99, 1, 0.33, 0.85, 0.74, 1, 0.86, 0.36, 0.86),
    ),
    "OPQ": (
        r"OPQ\d+(_\d+)?,PQ\d+(x8)?",
        (1, 1, 1, 1, 0.97, 1, 1, 1, 0.63, 0.91, 0.91, 1, 0.91, 0.52, 0.92),
        (1, 1, 1, 1, 0.99, 1, 1, 1, 0.72, 0.99, 0.97, 1, 0.98, 0.58, 0.94),
    ),
}
# µAP and the share of queries that keep their cell.
_COPY_DETECTION: dict[tuple[str, Arm], tuple[float, float]] = {
    ("IVF4096,PQ8x8", "passive"): (0.128, 0.134),
    ("IVF4096,PQ8x8", "active"): (0.318, 0.324),
}

PUBLISHED: tuple[PublishedRun, ...] = tuple(
    PublishedRun(
        index,
        arm,
        dict(zip(PUBLISHED_EDITS, values[:-1], strict=True)),
        values[-1],
        *_COPY_DETECTION.get((index, arm), ()),
    )
    for index, (_, *arms) in _TABLE.items()
    for arm, values in zip(get_args(Arm), arms, strict=True)
)


def matching_published(
    idx_factory: object, extractor: ExtractorIdentity | None, nprobe: object, arm: Arm
) -> PublishedRun | None:
    """The published line of a run's setting; None if there is none.

    Args:
        idx_factory: The run's FAISS factory string.
        extractor: The run's extractor.
        nprobe: Inverted lists visited.
        arm: The run's arm.
    """
    if not isinstance(idx_factory, str) or extractor is None or nprobe != 1:
        return None
    # With a pooling or whitening behind it, it is another extractor.
    plain = extractor.pooling is None and extractor.whitening is None
    if not plain or EXTRACTOR not in extractor.name or extractor.input_size != INPUT_SIZE:
        return None
    for run in PUBLISHED:
        if run.arm == arm and re.fullmatch(_TABLE[run.index][0], idx_factory):
            return run
    return None
