"""Activation on a CPU: one process per core beside one process that uses all cores.

Run:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/processes.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt

Times the plain loop of baseline.py over images in memory, and `activate_folder` over the same
photographs, including files, records and the start of its processes; all use every core of the
machine. Wall time per image, the best of --rounds; `ratio` is the plain loop's time over the arm's.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import torch
from baseline import activate_plainly, plain_network

from activeindex.activation.folder import activate_folder
from activeindex.activation.settings import PRESETS
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.named import load_extractor
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from activeindex.runtime.cores import default_workers
from activeindex.runtime.pool import Engine, LocalEngine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model_name", default="sscd_disc_mixup", help="or a file")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--presets", nargs="*", default=["paper", "fast"])
    options = parser.parse_args()
    cores = default_workers()
    extractor = load_extractor(options.model_name)
    network, size = plain_network(options.model_name)
    training = read_features(options.fts_training_path, "fts_training_path").values
    trained = train_faiss(training, "IVF64,PQ8x8", "L2")
    quantiser = Quantiser(trained)
    paths = list_images(options.data_dir)[: options.images]
    pixels = [read_pixels(path) for path in paths]

    def folder(preset: str, engine: Callable[[], Engine]) -> None:
        with tempfile.TemporaryDirectory() as work:
            images, output = Path(work) / "images", Path(work) / "output"
            images.mkdir()
            for path in paths:
                (images / path.name).symlink_to(path.resolve())
            chosen = PRESETS[preset]
            with engine() as workers:
                activate_folder(
                    images,
                    output,
                    quantiser,
                    extractor,
                    preset=chosen,
                    workers=workers,
                )

    arms: dict[str, Callable[[], object]] = {
        "plain loop": lambda: activate_plainly(pixels, network, size, faiss.clone_index(trained))
    }
    for preset in options.presets:
        for name, engine in (
            ("one process", lambda: LocalEngine(cores)),
            ("a process for each core", lambda: LocalEngine(cores, sharded=True)),
        ):
            arms[f"`{preset}`, {name}"] = lambda p=preset, e=engine: folder(p, e)
    best: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, arm in arms.items():
            start = time.perf_counter()
            arm()
            spent = (time.perf_counter() - start) / len(paths)
            best[name] = min(best.get(name, spent), spent)
    print(f"{extractor.identity}, {len(paths)} images, {torch.get_num_threads()} threads")
    print("| arm | seconds per image | ratio |\n|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {best['plain loop'] / seconds:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
