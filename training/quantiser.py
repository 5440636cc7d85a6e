"""Train the index that ships with the package, on features of pictures and of edited views.

``python -m training.quantiser OUT --features FTS … --edited FTS …``; README.md has all commands.
OUT is a folder as of ``activeindex train_index``. The same features and seed give the same bytes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activeindex.errors import ActiveIndexError, InputError
from activeindex.extractors.feature_files import ImageFeatures, read_features
from activeindex.identity import same
from activeindex.indexing.artefact import TrainedIndex, train_index

FACTORY = "IVF256,PQ32x8np"


def train(paths: Sequence[Path], edited: Sequence[Path], factory: str, seed: int) -> TrainedIndex:
    """Train an index on the rows of several feature files.

    Args:
        paths: Features of pictures as they are.
        edited: Features of edited views, from ``extract_fts --edit_seed``.
        factory: FAISS factory string.
        seed: Seeds the order of the rows, on which FAISS's clusterings depend.

    Raises:
        InputError: If a file is not one of such features, or of another extractor than the first.
    """
    files = [read_features(path, "features") for path in paths]
    files += [read_features(path, "edited", edited=True) for path in edited]
    for file in files:
        if not same(file.extractor, files[0].extractor):
            raise InputError(
                f"{file.path}: expected features of {files[0].extractor}, found {file.extractor}"
            )
    rows = np.concatenate([file.values for file in files])
    order = np.random.default_rng(seed).permutation(len(rows))
    return train_index(ImageFeatures(rows[order], extractor=files[0].extractor), factory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.quantiser", description="Train the index of the package."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the trained index")
    parser.add_argument("--features", type=Path, nargs="+", required=True, metavar="FTS")
    parser.add_argument("--edited", type=Path, nargs="*", default=[], metavar="FTS")
    parser.add_argument("--idx_factory", default=FACTORY, help=f"default: {FACTORY}")
    parser.add_argument("--seed", type=int, default=0, help="of the clustering (default: 0)")
    options = parser.parse_args(arguments)
    try:
        index = train(options.features, options.edited, options.idx_factory, options.seed)
        index.save(options.out)
    except ActiveIndexError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {index.identity}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
