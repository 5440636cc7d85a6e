"""DISC21: the folders of the copy-detection experiment, as links to the images.

DISC21 comes as a million training and a million reference images and a table that says which
10,000 of the references the development queries were made from (Douze et al., The 2021 Image
Similarity Dataset and Challenge, 2021). The experiment takes it in three parts: the references
that have a copy among the queries, the other references, and training images in the part of
queries without a match.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path

from activeindex.datasets.ground_truth import read_ground_truth
from activeindex.datasets.links import LinkedFolder, check_replaceable, write_links
from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.files import check_folder
from activeindex.runtime.locking import only_run
from activeindex.runtime.reporting import SILENT, Reporter

_EXTENSIONS = (".jpg", ".jpeg", ".png")
_GROUND_TRUTH = "dev_queries_groundtruth.csv"


@dataclass(frozen=True)
class PreparedDisc:
    """The three parts; their names are those of the full data set, whatever the counts."""

    matched_references: LinkedFolder
    """``references_10k``: the references that the ground truth names."""
    other_references: LinkedFolder
    """``references_990k``: the others."""
    unmatched_queries: LinkedFolder
    """``queries_40k``: training images, the queries that have no match."""

    @property
    def folders(self) -> tuple[LinkedFolder, LinkedFolder, LinkedFolder]:
        """The three parts in the order above."""
        return self.matched_references, self.other_references, self.unmatched_queries


def prepare_disc(
    data_dir: Path,
    output_dir: Path,
    *,
    queries: int = 40_000,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> PreparedDisc:
    """Make ``references_10k``, ``references_990k`` and ``queries_40k`` in ``output_dir``.

    Nothing is written before all inputs are found good. Links are absolute. A part that is already
    there is kept if it is the same and replaced if it holds other links.

    Args:
        data_dir: Holds ``train/``, ``references/`` and ``dev_queries_groundtruth.csv``. Only read.
        output_dir: Where the three folders go; made when missing. May be ``data_dir``.
        queries: How many training images to draw.
        seed: Of the draw, which depends on nothing else but the sorted file names.
        reporter: Shows the progress.

    Returns:
        The folders and their counts.

    Raises:
        InputError: If an input is missing or malformed, a reference of the ground truth has no
            image, there are fewer training images than ``queries``, something other than links is
            in the way, or another run is writing to ``output_dir``.
        ActiveIndexError: If the links cannot be written.
    """
    if queries < 0:
        raise InputError(f"num_queries: expected 0 or more, found {queries}")
    check_folder(data_dir, "data_dir")
    train, references = data_dir / "train", data_dir / "references"
    check_folder(train, "DISC21's training images")
    check_folder(references, "DISC21's reference images")
    ground_truth = data_dir / _GROUND_TRUTH
    wanted = read_ground_truth(ground_truth)

    matched, others = _split(_image_names(references), wanted, ground_truth, references)
    drawn = _draw(_image_names(train), queries, seed, train)

    parts = [
        (output_dir / "references_10k", references, matched),
        (output_dir / "references_990k", references, others),
        (output_dir / "queries_40k", train, drawn),
    ]
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ActiveIndexError(
            f"output_dir {output_dir}: the folder could not be made: {error.strerror or error}"
        ) from error
    with reporter.stage("links") as progress, only_run(output_dir, "output_dir"):
        for folder, _, _ in parts:
            check_replaceable(folder)
        matched_folder, other_folder, query_folder = (
            write_links(folder, source.resolve(), names, progress)
            for folder, source, names in parts
        )
    return PreparedDisc(matched_folder, other_folder, query_folder)


def _image_names(folder: Path) -> list[str]:
    """List the image names in ``folder``, sorted, without a system call per file."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.lower().endswith(_EXTENSIONS)
            and not entry.name.startswith(".")
            and not entry.is_dir(follow_symlinks=False)
        ]
    if not names:
        raise InputError(f"{folder}: expected images ({' '.join(_EXTENSIONS)}), found none")
    names.sort()
    return names


def _split(
    names: list[str], wanted: dict[str, int], ground_truth: Path, folder: Path
) -> tuple[list[str], list[str]]:
    """Split names into those whose stem is wanted, and the others."""
    matched: dict[str, str] = {}
    others = []
    for name in names:
        stem = name.rpartition(".")[0]
        if stem not in wanted:
            others.append(name)
        elif stem in matched:
            raise InputError(
                f"{folder}: expected one image {stem}, found {matched[stem]} and {name}"
            )
        else:
            matched[stem] = name
    for reference, line in wanted.items():
        if reference not in matched:
            raise InputError(
                f"{ground_truth}, line {line}: expected a reference that is in {folder}, "
                f"found {reference}, which is not"
            )
    return list(matched.values()), others


def _draw(names: list[str], count: int, seed: int, folder: Path) -> list[str]:
    if count > len(names):
        raise InputError(
            f"{folder}: expected at least {count} training images to draw queries from, found "
            f"{len(names)}; ask for fewer with --num_queries"
        )
    return sorted(random.Random(seed).sample(names, count))
