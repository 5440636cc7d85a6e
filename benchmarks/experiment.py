"""A whole experiment beside the passes through the extractor that it makes.

Run, after the commands of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/experiment.py --data_dir disc/references_10k \
        --query_nonmatch_dir disc/queries_40k --fts_training_path fts/train/fts.pt \
        --fts_reference_path fts/references/fts.pt

First `activeindex main`, from its start to its last file, index and references included: it
activates --images images and makes both lists of their queries, with five non-matching ones for
each. Then its passes alone: every step of every image forward and backward, every query forward, on
images in memory, in one process of one thread per core at once (the time of --sample images and
their queries in each, scaled to the number of the run). `ratio` is the wall time of the run over
theirs. Measure on a machine that does nothing else.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from activeindex.activation.settings import PRESETS
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.images.folder import list_images
from activeindex.runtime.cores import default_workers

NON_MATCHING = 5
"""For each image, as in the small collection."""


def wall_time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def experiment(options: argparse.Namespace, work: Path) -> list[str]:
    images = list_images(options.data_dir)[: options.images]
    others = list_images(options.query_nonmatch_dir)[: NON_MATCHING * options.images]
    for name, paths in (("images", images), ("others", others)):
        (work / name).mkdir()
        for path in paths:
            (work / name / path.name).symlink_to(path.resolve())
    command = [sys.executable, "-m", "activeindex", "main"]
    command += ["--model_name", options.model_name, "--idx_factory", options.idx_factory]
    command += ["--fts_training_path", str(options.fts_training_path)]
    command += ["--fts_reference_path", str(options.fts_reference_path)]
    command += ["--data_dir", str(work / "images"), "--query_nonmatch_dir", str(work / "others")]
    command += ["--idx_dir", str(work / "indexes"), "--output_dir", str(work / "output")]
    return [*command, "--active", "True"]


def stages(output: Path) -> dict[str, tuple[int, float]]:
    """Items and seconds of each stage of a run."""
    found: dict[str, tuple[int, float]] = {}
    for line in (output / "times.jsonl").read_text().splitlines():
        stage = json.loads(line)
        if "stage" in stage:
            items, seconds = found.get(stage["stage"], (0, 0.0))
            found[stage["stage"]] = (items + stage["items"], seconds + stage["seconds"])
    return found


def forward_and_back(extractor: Extractor, images: int, steps: int) -> None:
    shape = (1, 3, extractor.input_size, extractor.input_size)
    for _ in range(images):
        image = torch.rand(shape).requires_grad_()
        for _ in range(steps):
            extractor(image).sum().backward()


def alone(model: str, images: int, queries: int, steps: int) -> tuple[float, float]:
    """Seconds of one process for the steps of some images, and for some queries."""
    torch.set_num_threads(1)
    extractor = load_extractor(model)
    size = extractor.input_size
    batch = torch.rand(queries, 3, size, size)
    forward_and_back(extractor, 1, 1)
    active = wall_time(lambda: forward_and_back(extractor, images, steps))
    return active, wall_time(lambda: [features_of(extractor, some) for some in batch.split(16)])


def all_alone(model: str, images: int, queries: int, steps: int) -> tuple[float, float]:
    """The means of a process for each core, at once."""
    cores = default_workers()
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        begun = [pool.submit(alone, model, images, queries, steps) for _ in range(cores)]
        active, looked = zip(*(one.result() for one in begun), strict=True)
    return sum(active) / cores, sum(looked) / cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "query_nonmatch_dir", "fts_training_path", "fts_reference_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model_name", default="sscd_disc_mixup", help="or a file")
    parser.add_argument("--idx_factory", default="IVF64,PQ8x8")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sample", type=int, default=4, help="images whose passes are timed")
    options = parser.parse_args()
    steps = PRESETS["paper"].settings.iterations
    sample, cores = options.sample, default_workers()
    with tempfile.TemporaryDirectory() as folder:
        command = experiment(options, Path(folder))
        whole = wall_time(lambda: subprocess.run(command, check=True))
        seen = stages(Path(folder) / "output")
    queries = seen["edit and extract"][0]
    looked_at = sample * queries // options.images
    active, looked = all_alone(options.model_name, sample, looked_at, steps)
    share = options.images / sample / cores
    active, looked = active * share, looked * share
    print(f"{options.model_name}, {options.images} images, {queries} queries, {cores} cores")
    print("| | seconds |\n|---|---|")
    print(f"| experiment | {whole:.1f} |")
    print(f"| {steps} passes forward and back of every image | {active:.1f} |")
    print(f"| every query forward | {looked:.1f} |")
    print(f"| ratio | {whole / (active + looked):.2f} |")
    for name, (items, duration) in seen.items():
        print(f"  {name}: {items} in {duration:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
