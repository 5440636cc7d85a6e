"""Extraction from 12-megapixel JPEGs beside the extractor's own forward passes.

Run from the root of the repository, after `activeindex prepare_disc` of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/extraction.py --photographs disc/references_10k

Makes JPEGs of 4000x3000 from the photographs: "enlarged", one photograph on the whole area, and
"mosaic", as many at their own size as fit, which has the detail of a sharp camera. In turn,
--rounds times: forward passes alone over images in memory, and `extract_folder` with --decode exact
and scaled, both with two workers; and what decoding alone costs, in CPU time of one worker.
Achieved over attainable is forward alone over extraction: in wall time, and in CPU time (that of
the main process and of decoding), which other programs on the machine disturb less. Then the cosine
of scaled to exact features, and what rounding the extractor's input to 8 bits does to them, as a
yardstick.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from activeindex.extractors import Extractor, extract_folder, features_of, load_extractor
from activeindex.extractors.extraction import read_resized
from activeindex.images import list_images, read_rgb
from activeindex.running.workers import Workers

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


def cost(function: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def throughput(extractor: Extractor, folder: Path, count: int, rounds: int) -> None:
    images = torch.rand(count, 3, extractor.input_size, extractor.input_size)
    size = extractor.input_size
    paths = list_images(folder)

    def extract(decode: str) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as out, Workers(2) as workers:
            list(workers.map(abs, range(4)))  # Starts them, which is no part of an image's cost.
            return cost(
                lambda: extract_folder(extractor, folder, Path(out), decode=decode, workers=workers)
            )

    def decode(how: str) -> None:
        for path in paths:
            read_resized(path, size, how)

    threads = torch.get_num_threads()
    features_of(extractor, images[:4])
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        found.setdefault("forward", []).append(cost(lambda: features_of(extractor, images)))
        for how in ("exact", "scaled"):
            torch.set_num_threads(1)
            alone = cost(lambda how=how: decode(how))
            torch.set_num_threads(threads)
            wall, cpu = extract(how)
            found.setdefault(how, []).append((wall, cpu + alone[1]))
            found.setdefault(f"decode {how}", []).append(alone)
    forward = found["forward"]
    for name, times in found.items():
        wall, cpu = (statistics.median(values) / count * 1e3 for values in zip(*times, strict=True))
        line = f"  {name:<14} {wall:6.0f} ms wall {cpu:6.0f} ms CPU per image"
        if name in ("exact", "scaled"):
            ratios = [
                [alone[i] / whole[i] for alone, whole in zip(forward, times, strict=True)]
                for i in (0, 1)
            ]
            line += "; achieved / attainable: " + ", ".join(
                f"{statistics.median(values):.2f} (min {min(values):.2f}) {unit}"
                for values, unit in zip(ratios, ("wall", "CPU"), strict=True)
            )
        print(line, flush=True)


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
    parser.add_argument("--count", type=int, default=24)
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
