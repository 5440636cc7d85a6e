"""Make the calibration that ships with the index of the package.

``python -m training.calibration DISC OUT``; README.md has all commands. DISC is laid out like
DISC21. Of its references that the ground truth does not name, 1,000 drawn with a seed are the
background; ``benchmarks/decisions.py`` checks it on 1,000 others. The same pictures give the same
bytes.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activeindex.decisions.calibrate import EDITS, calibrate, edited_features
from activeindex.errors import ActiveIndexError
from activeindex.extractors.features import ExtractionJob
from activeindex.extractors.named import load_extractor
from activeindex.images.folder import list_images
from activeindex.indexing.packaged import packaged_index
from activeindex.runtime.parallel import batches_of
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import ConsoleReporter

SOURCE = "1,000 photographs of ImageNet, edited at random"
STORED = 0
"""Images in the store: it is for stores of any size."""


def background(disc: Path) -> list[Path]:
    """The pictures, none of which the ground truth names."""
    with (disc / "dev_queries_groundtruth.csv").open(newline="") as file:
        named = {row[1].strip() for row in csv.reader(file) if len(row) > 1}
    others = [path for path in list_images(disc / "references") if path.stem not in named]
    order = np.random.default_rng(0).permutation(len(others))
    return [others[place] for place in order[2000:3000]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the calibration; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.calibration", description="Calibrate the index of the package."
    )
    parser.add_argument("disc", type=Path, metavar="DISC", help="laid out like DISC21")
    parser.add_argument("out", type=Path, metavar="OUT", help="file of the calibration")
    options = parser.parse_args(arguments)
    try:
        index = packaged_index()
        extractor, workers = load_extractor("lite0_copy", None), LocalEngine()
        paths = background(options.disc)
        batches = ExtractionJob(extractor)(batches_of(paths, 32), workers)
        features = np.concatenate([batch.features for batch in batches])
        edited = edited_features(extractor, paths, edits=EDITS, reporter=ConsoleReporter())
        made = calibrate(index, extractor.identity, features, edited, stored=STORED, source=SOURCE)
        made.save(options.out)
    except ActiveIndexError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(made.claim())
    return 0


if __name__ == "__main__":
    sys.exit(main())
