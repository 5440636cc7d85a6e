"""Extraction from 12-megapixel JPEGs beside the extractor's own forward passes.

Run from the root of the repository, after `activeindex prepare_disc` of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/extraction.py --photographs disc/references_10k

Makes JPEGs of 4000x3000 from the photographs: "enlarged", one photograph on the whole area, and
"mosaic", as many at their own size as fit, which has the detail of a sharp camera. Then measures in
turn, --rounds times: forward passes alone over images in memory, with one thread per core;
`extract_folder` with --decode exact and scaled and one process per core, from the first batch of
each process on; and the CPU time of decoding alone. The share is the time of forward passes alone
over that of extraction, from the best round of each. Last come the cosine of scaled to exact
features and, for comparison, what rounding the extractor's input to 8 bits does to them.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from activeindex.extractors.base import Extractor
from activeindex.extractors.features import extract_folder, features_of, read_resized
from activeindex.extractors.named import load_extractor
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images
from activeindex.runtime.cores import default_workers
from activeindex.runtime.pool import LocalEngine
from activeindex.runtime.reporting import Progress, Reporter

SIZE = (4000, 3000)


def make(folder: Path, photographs: list[Path], kind: str, count: int, quality: int) -> None:
    folder.mkdir()
    pictures = [read_rgb(path) for path in photographs]
    side = pictures[0].width
    columns, rows = -(-SIZE[0] // side), -(-SIZE[1] // side)
    for number in range(count):
        if kind == "enlarged":
            whole = pictures[number % len(pictures)].resize(SIZE, Image.Resampling.LANCZOS)
        else:
            whole = Image.new("RGB", SIZE)
            for place in range(columns * rows):
                picture = pictures[(number * columns * rows + place) % len(pictures)]
                whole.paste(picture, (place % columns * side, place // columns * side))
        whole.save(folder / f"{number:03d}.jpg", quality=quality)


class Arrivals(Reporter, Progress):
    """When features arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, int]] = []

    def advance(self, items: int = 1, **figures: float) -> None:
        if items:
            self.times.append((time.perf_counter(), items))

    def stage(self, *_: object, **__: object) -> AbstractContextManager[Progress]:
        """Reports every stage here."""
        return nullcontext(self)

    def pace(self, first: int) -> float:
        """Seconds per image after the ``first`` batches."""
        since = self.times[first - 1][0]
        return (self.times[-1][0] - since) / sum(items for _, items in self.times[first:])


def throughput(extractor: Extractor, folder: Path, count: int, rounds: int) -> None:
    size, paths = extractor.input_size, list_images(folder)
    images = torch.rand(count, 3, size, size)

    def extract(how: str) -> float:
        with tempfile.TemporaryDirectory() as out:
            workers, arrivals = LocalEngine(default_workers(), sharded=True), Arrivals()
            extract_folder(
                extractor,
                folder,
                Path(out),
                batch_size=8,
                decode=how,
                workers=workers,
                reporter=arrivals,
            )
        return arrivals.pace(default_workers()) * count

    def decode(how: str) -> None:
        for path in paths:
            read_resized(path, size, how)

    features_of(extractor, images[:4])
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for _ in range(rounds):
        took(wall, time.perf_counter, "forward", lambda: features_of(extractor, images))
        for how in ("exact", "scaled"):
            wall.setdefault(how, []).append(extract(how))
            took(cpu, time.process_time, how, lambda how=how: decode(how))
    for name, times in wall.items():
        line = f"  {name:<8} {min(times) / count * 1e3:4.0f} ms per image"
        if name in cpu:
            line += f"; achieved / attainable {min(wall['forward']) / min(times):.2f}"
            line += f"; decoding alone {min(cpu[name]) / count * 1e3:.0f} ms of CPU time"
        print(line, flush=True)


def took(
    times: dict[str, list[float]],
    clock: Callable[[], float],
    name: str,
    function: Callable[[], object],
) -> None:
    start = clock()
    function()
    times.setdefault(name, []).append(clock() - start)


def parity(extractor: Extractor, folder: Path) -> None:
    paths = list_images(folder)
    size = extractor.input_size
    exact = torch.from_numpy(np.stack([read_resized(path, size, "exact") for path in paths]))
    scaled = torch.from_numpy(np.stack([read_resized(path, size, "scaled") for path in paths]))
    plain = features_of(extractor, exact)
    for name, images in (("scaled", scaled), ("8 bits", exact.mul(255).round().div(255))):
        other = features_of(extractor, images)
        norms = np.linalg.norm(plain, axis=1) * np.linalg.norm(other, axis=1)
        cosines = (plain * other).sum(axis=1) / norms
        print(
            f"  cosine to exact, {name}: min {cosines.min():.5f}, median {np.median(cosines):.5f} "
            f"of {len(paths)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--quality", type=int, default=85)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    extractor = load_extractor("sscd_disc_mixup")
    print(f"{extractor.identity}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    photographs = list_images(options.photographs)
    with tempfile.TemporaryDirectory() as work:
        for kind in ("enlarged", "mosaic"):
            folder = Path(work) / kind
            make(folder, photographs, kind, options.count, options.quality)
            megabytes = np.mean([path.stat().st_size for path in list_images(folder)]) / 1e6
            print(f"{kind}: JPEG {options.quality}, {megabytes:.1f} MB per image")
            throughput(extractor, folder, options.count, options.rounds)
            parity(extractor, folder)


if __name__ == "__main__":
    sys.exit(main())
