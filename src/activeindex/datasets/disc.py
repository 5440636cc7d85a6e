"""DISC21: the folders of the copy-detection experiment, as links to the images.

DISC21 comes as a million training and a million reference images and a table that says which
10,000 of the references the development queries were made from (Douze et al., The 2021 Image
Similarity Dataset and Challenge, 2021). The experiment takes it in three parts: the references
that have a copy among the queries, the other references, and training images in the part of
queries without a match.
"""

import csv
import os
import random
import re
from pathlib import Path
from typing import NamedTuple

from activeindex.datasets.links import LinkedFolder, check_replaceable, write_links
from activeindex.errors import InputError
from activeindex.runtime.files import check_file, check_folder, check_writable
from activeindex.runtime.locking import only_run
from activeindex.runtime.reporting import SILENT, Reporter

_EXTENSIONS = (".jpg", ".jpeg", ".png")
_HEADER = "query_id,reference_id"
_ROW = re.compile(r"Q\d+,(R\d+)?")
_SHOWN = 40  # Characters of a malformed row in an error.


class PreparedDisc(NamedTuple):
    """The three parts; their names are those of the full data set, whatever the counts.

    Attributes:
        matched_references: ``references_10k``: the references that the ground truth names.
        other_references: ``references_990k``: the others.
        unmatched_queries: ``queries_40k``: training images, the queries that have no match.
    """

    matched_references: LinkedFolder
    other_references: LinkedFolder
    unmatched_queries: LinkedFolder


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
        OutputError: If the links cannot be written.
    """
    if queries < 0:
        raise InputError(f"num_queries: expected 0 or more, found {queries}")
    check_folder(data_dir, "data_dir")
    train, references = data_dir / "train", data_dir / "references"
    check_folder(train, "DISC21's training images")
    check_folder(references, "DISC21's reference images")
    ground_truth = data_dir / "dev_queries_groundtruth.csv"
    wanted = read_ground_truth(ground_truth)
    matched, others = _split(_image_names(references), wanted, ground_truth, references)
    candidates = _image_names(train)
    if queries > len(candidates):
        raise InputError(
            f"{train}: expected at least {queries} training images to draw queries from, found "
            f"{len(candidates)}; ask for fewer with --num_queries"
        )
    drawn = sorted(random.Random(seed).sample(candidates, queries))
    parts = [
        (output_dir / "references_10k", references, matched),
        (output_dir / "references_990k", references, others),
        (output_dir / "queries_40k", train, drawn),
    ]
    check_writable(output_dir)
    with reporter.stage("links") as progress, only_run(output_dir, "output_dir"):
        for folder, _, _ in parts:
            check_replaceable(folder)
        return PreparedDisc(
            *(
                write_links(folder, source.resolve(), chosen, progress)
                for folder, source, chosen in parts
            )
        )


def read_ground_truth(path: Path) -> dict[str, int]:
    """Read the rows ``Q#####,R######``; the reference side is empty for a query without a match.

    Args:
        path: ``dev_queries_groundtruth.csv``; a first line ``query_id,reference_id`` is skipped.

    Returns:
        Each reference that occurs, with the number of the line where it first does.

    Raises:
        InputError: If the file is missing, a row is malformed or no row names a reference.
    """
    check_file(path, "ground truth")
    references: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                text, line = ",".join(cell.strip() for cell in row), reader.line_num
                if not text or (line == 1 and text == _HEADER):
                    continue
                if (found := _ROW.fullmatch(text)) is None:
                    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
                    wanted = "expected Q#####,R###### or Q#####,"
                    raise InputError(f"{path}, line {line}: {wanted} found {shown!r}")
                if found[1]:
                    references.setdefault(found[1], line)
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"{path}, line {reader.line_num + 1}"
            raise InputError(f"{where}: expected CSV in UTF-8 ({error})") from None
    if not references:
        raise InputError(f"{path}: expected rows Q#####,R######, found none that names a reference")
    return references


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
            found = f"{matched[stem]} and {name}"
            raise InputError(f"{folder}: expected one image {stem}, found {found}")
        else:
            matched[stem] = name
    for reference, line in wanted.items():
        if reference not in matched:
            raise InputError(
                f"{ground_truth}, line {line}: expected a reference that is in {folder}, "
                f"found {reference}, which is not"
            )
    return list(matched.values()), others
