"""Several codes for one image: what activation adds to them, at the same bytes.

Run, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/several_codes.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt

Whoever owns the index may store more than one code of an image: here that of its own feature, and
for the inverted lists that most of 16 edited views of the released image fall into, the code of the
mean feature of those that do. Passive images are the originals, activated ones those of --preset.
Every index holds the references and all originals, and finds an image by any of its codes: R@1 over
the fixed list of edits with a 95 % interval (bootstrap over photographs), nprobe 1. The photographs
are those with odd numbers, which no setting was chosen on.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from collection import Collection, add_options, edited_features, filled
from presets import interval

from activeindex.activation.presets import PRESETS
from activeindex.edits.differentiable import fixed_views
from activeindex.edits.lists import FIXED_LIST
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.levels import Pixels, to_tensor
from activeindex.images.resizing import resize_square
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.search import search
from activeindex.indexing.training import train_index

VIEWS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "lite0_copy", images=100)
    parser.add_argument("--preset", choices=PRESETS, default="thorough")
    parser.add_argument("--codes", type=int, nargs="*", default=[1, 2, 3, 4, 8], help="at most")
    options = parser.parse_args()
    collection = Collection.of(options)
    extractor, workers, database = collection.extractor, collection.workers, collection.database
    trained = train_index(collection.training, "IVF64,PQ8x8np", "L2")
    quantiser = Quantiser(trained)
    result = collection.activated([trained], PRESETS[options.preset])
    released = {
        "passive": collection.pixels,
        "activated": [image.pixels for image in result.images],
    }
    views = {arm: views_of(extractor, images) for arm, images in released.items()}
    queries = {arm: edited_features(images, extractor, workers) for arm, images in released.items()}
    workers.close()
    wanted = collection.ids
    print(f"{extractor.identity}, {options.preset}, {len(wanted)} photographs")
    print("| codes at most | images | codes on average | R@1 | 95 % | by edit |")
    print("|---|---|---|---|---|---|", flush=True)
    for most in options.codes:
        for arm in released:
            more = [
                further(quantiser, database[row : row + 1], seen, most - 1)
                for row, seen in zip(wanted, views[arm], strict=True)
            ]
            owners = np.concatenate(
                [np.arange(len(database)), np.repeat(wanted, list(map(len, more)))]
            )
            index = filled(trained, np.concatenate([database, *more]))
            found = search(index, queries[arm], 1).ids[:, 0]
            hits = np.where(found < 0, -1, owners[found]).reshape(len(FIXED_LIST), -1) == wanted
            average = 1 + sum(map(len, more)) / len(more)
            by_edit = " ".join(f"{share:.2f}" for share in hits.mean(axis=1))
            share = f"{hits.mean():.3f} | {interval(hits.mean(axis=0))}"
            print(f"| {most} | {arm} | {average:.2f} | {share} | {by_edit} |", flush=True)


def views_of(extractor: Extractor, images: Sequence[Pixels]) -> list[Features]:
    """The features ``(VIEWS, d)`` of edited views of each image."""
    squares = [resize_square(to_tensor(image)[None], extractor.input_size) for image in images]
    return [features_of(extractor, torch.cat(fixed_views(one, VIEWS))) for one in squares]


def further(quantiser: Quantiser, own: Features, views: Features, most: int) -> Features:
    """The features ``(n, d)`` whose codes are stored besides that of an image's ``own``."""
    lists = quantiser.coarse_cells(views)
    others = Counter(lists[lists != quantiser.coarse_cells(own)[0]].tolist()).most_common(most)
    means = [views[lists == each].mean(axis=0, keepdims=True) for each, _ in others]
    return np.concatenate([own[:0], *means])


if __name__ == "__main__":
    sys.exit(main())
