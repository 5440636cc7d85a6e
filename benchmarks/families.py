"""Recall that activation gains on every family of FAISS indexes.

Run, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/families.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt

For each index: bytes per code, then R@1 over the fixed list of edits for the first --images images,
passive and activated for that index, and their PSNR. Every index holds the references and all
originals. The passive queries are edited and extracted once, since no index changes them. The table
grows row by row; an index that it already has is not measured again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from collection import edited_features, features_of_all, hits

from activeindex.activation.activate import activate_pictures
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.named import load_extractor
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.levels import to_tensor
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import add, set_nprobe
from activeindex.indexing.training import train_faiss
from activeindex.runtime.pool import LocalEngine

FACTORIES = (
    *("Flat", "SQ8", "SQ4", "PQ8x8", "PQ16x4fs", "RQ4x8", "PRQ2x2x8", "LSQ4x8", "RaBitQ"),
    *("LSH", "PCA64,LSH", "PCA64,ITQ64,LSH", "PCA64,SQ8", "PCAW64,SQ8", "OPQ8_64,PQ8x8"),
    *("IVF64,Flat", "IVF64,SQ8", "IVF64,PQ8x8", "IVF64,PQ16x4fsr", "IVF64,RQ4x8", "IVF64,RaBitQ"),
    *("OPQ8_64,IVF64,PQ8x8", "IMI2x3,PQ8x8", "IVF64_HNSW16,PQ8x8", "IVF64,PQ8x8,RFlat"),
    *("IVF64,PQ8x8,Refine(SQ8)", "HNSW32,Flat", "HNSW32_SQ8", "HNSW32_PQ8", "NSG32,Flat"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path", "fts_reference_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--table", type=Path, default=Path("families.md"))
    parser.add_argument("--factories", nargs="*", default=FACTORIES)
    options = parser.parse_args()
    extractor, workers = load_extractor("sscd_disc_mixup"), LocalEngine(2)
    training = read_features(options.fts_training_path, "fts_training_path").values
    references = read_features(options.fts_reference_path, "fts_reference_path").values
    paths = list_images(options.data_dir)
    database = np.concatenate([references, features_of_all(paths, extractor, workers)])
    chosen = list(workers.map(read_pixels, paths[: options.images]))
    ids = len(references) + np.arange(len(chosen))
    passive = edited_features(chosen, extractor, workers)
    head = "| index | bytes | R@1 passive | R@1 active | gain | PSNR |\n|---|---|---|---|---|---|\n"
    table = options.table.read_text() if options.table.exists() else head
    for factory in options.factories:
        if f"| `{factory}` |" in table:
            continue
        index = train_faiss(training, factory, "L2")
        quantiser = Quantiser(index)
        result = activate_pictures([to_tensor(p) for p in chosen], extractor, quantiser)
        active = edited_features((i.pixels for i in result.images), extractor, workers)
        add(index, database)
        set_nprobe(index, 1)
        before, after = (hits(index, queries, ids).mean() for queries in (passive, active))
        row = f"| `{factory}` | {quantiser.code_size} | {before:.3f} | {after:.3f} "
        table += row + f"| {after - before:+.3f} | {result.psnr:.2f} |\n"
        options.table.write_text(table)
        print(table.splitlines()[-1], flush=True)
    workers.close()


if __name__ == "__main__":
    sys.exit(main())
