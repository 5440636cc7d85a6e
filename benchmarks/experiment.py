"""A whole experiment against the passes through the extractor that it makes.

Run, after the commands of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/experiment.py --data_dir disc/references_10k \
        --query_nonmatch_dir disc/queries_40k --fts_training_path fts/train/fts.pt \
        --fts_reference_path fts/references/fts.pt

`activeindex main` activates --images images and makes both lists of queries of them, with five
non-matching ones for each, from its start to its last file; index and references included. Then its
passes alone, by one thread: every step of every image forward and back, every query forward, on
images in memory (the time of --sample images and their queries, times what the run made of them).
`ratio` is the experiment's time on the wall over theirs, which on several cores is their CPU time
over the number of cores. Measure on a machine that does nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from activeindex.activation import PRESETS
from activeindex.extractors import Extractor, features_of, load_extractor
from activeindex.images import list_images
from activeindex.running.cores import default_workers

NON_MATCHING = 5
"""For each image, as in the small collection."""


def cost(clock: Callable[[], float], function: Callable[[], object]) -> float:
    start = clock()
    function()
    return clock() - start


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "query_nonmatch_dir", "fts_training_path", "fts_reference_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model_name", default="sscd_disc_mixup", help="or a file")
    parser.add_argument("--idx_factory", default="IVF64,PQ8x8")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sample", type=int, default=8, help="images whose passes are timed")
    options = parser.parse_args()
    extractor = load_extractor(options.model_name)
    steps = PRESETS["paper"].settings.iterations
    with tempfile.TemporaryDirectory() as folder:
        command = experiment(options, Path(folder))
        whole = cost(time.perf_counter, lambda: subprocess.run(command, check=True))
        seen = stages(Path(folder) / "output")
    queries = seen["edit and extract"][0]
    size, sampled = extractor.input_size, options.sample * queries // options.images
    batch = torch.rand(sampled, 3, size, size)
    torch.set_num_threads(1)
    forward_and_back(extractor, 1, 1)
    clock = time.process_time
    share = options.images / options.sample
    active = cost(clock, lambda: forward_and_back(extractor, options.sample, steps)) * share
    looked = cost(clock, lambda: features_of(extractor, batch)) * share
    cores = default_workers()
    print(f"{extractor.identity}, {options.images} images, {queries} queries, {cores} cores")
    print("| | seconds |\n|---|---|")
    print(f"| experiment | {whole:.1f} |")
    print(f"| {steps} passes forward and back of every image | {active / cores:.1f} |")
    print(f"| every query forward | {looked / cores:.1f} |")
    floor = active + looked
    print(f"| ratio | {whole / floor * cores:.2f} |")
    for name, (items, seconds) in seen.items():
        print(f"  {name}: {items} in {seconds:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
