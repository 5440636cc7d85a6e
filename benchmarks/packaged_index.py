"""Recall through the index of the package beside one that is trained on the user's own pictures.

Run, after the extraction of docs/reproduce.md and the trainings of docs/packaged_index.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/packaged_index.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt \
        --indexes packaged=runs/packaged_0,runs/packaged_1 own=runs/own_0,runs/own_1

Each name stands for several clusterings of one recipe, over which hits are averaged. Settings are
chosen on the photographs with even numbers; by default those with odd numbers are measured. Prints
R@1 over the fixed list of edits at several efforts, one list for an effort of 1, with a 95 %
interval (bootstrap over photographs, 10,000 resamples, seed 0): passive and activated by each
preset, with each number of descriptor views.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import faiss
import numpy as np
import torch
from collection import Array, Collection, add_options, filled, hits
from presets import interval

from activeindex.activation.settings import PRESETS, Preset
from activeindex.extractors.features import code_features
from activeindex.images.levels import resize_square, to_tensor
from activeindex.indexing.artefact import TrainedIndex
from activeindex.indexing.search import lists_within, set_nprobe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "lite0_copy", images=100)
    parser.add_argument("--indexes", nargs="+", required=True, metavar="NAME=FOLDER,…")
    parser.add_argument("--efforts", type=int, nargs="+", default=[1, 84, 420, 2_000, 20_000])
    parser.add_argument("--presets", nargs="*", default=["thorough"])
    parser.add_argument("--descriptor_views", type=int, nargs="*", default=[0, 12])
    parser.add_argument("--work", type=Path, help="queries that are kept here are not made again")
    options = parser.parse_args()
    collection = Collection.of(options)
    runs: dict[str, tuple[Preset | None, int]] = {}
    for preset in ("passive", *options.presets):
        for views in options.descriptor_views:
            changed = None
            if preset != "passive":
                settings = PRESETS[preset].settings.replace(descriptor_views=views)
                changed = Preset(settings, PRESETS[preset].release)
            runs[f"{preset}, {views} views"] = changed, views
    count = len(collection.numbers)
    print(f"{count} photographs ({options.half}), {collection.extractor.identity}")
    efforts = (f"effort {effort:,}" for effort in options.efforts)
    print(f"| index | run | {' | '.join(efforts)} |")
    print("|---|---|" + "---|" * len(options.efforts), flush=True)
    for given in options.indexes:
        name, _, folders = given.partition("=")
        indexes = [TrainedIndex.read(folder) for folder in folders.split(",")]
        for run, (preset, views) in runs.items():
            cells = [[] for _ in options.efforts]
            for index in indexes:
                queries, stored = searched(collection, index, preset, views, options)
                full = filled(index.index, stored)
                for cell, effort in zip(cells, options.efforts, strict=True):
                    lists = faiss.extract_index_ivf(full).nlist
                    set_nprobe(full, lists_within(effort, lists, full.ntotal))
                    cell.append(hits(full, queries, collection.ids))
            means = [np.mean(cell, axis=0) for cell in cells]
            shown = (f"{mean.mean():.3f} ({interval(mean.mean(axis=0))})" for mean in means)
            print(f"| {name} | {run} | {' | '.join(shown)} |", flush=True)
    collection.workers.close()


def searched(
    collection: Collection,
    index: TrainedIndex,
    preset: Preset | None,
    views: int,
    options: argparse.Namespace,
) -> tuple[Array, Array]:
    """Features of the queries, and those that the index holds."""
    key = "passive"
    if preset is not None:
        key = hashlib.sha256(f"{index.identity.sha256} {preset}".encode()).hexdigest()[:16]
    stored = collection.database
    if views:
        size = collection.extractor.input_size
        squares = torch.stack([resize_square(to_tensor(p), size) for p in collection.pixels])
        stored[collection.ids] = code_features(collection.extractor, squares, views)
    kept = options.work and options.work / f"{key}_{options.half}_{len(collection.numbers)}.npy"
    if kept and kept.exists():
        return np.load(kept), stored
    released = collection.pixels
    if preset is not None:
        result = collection.activated([index.index], preset)
        released = [image.pixels for image in result.images]
    queries = collection.edited(released)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, queries)
    return queries, stored


if __name__ == "__main__":
    sys.exit(main())
