"""Time and memory as the number of images grows: extraction, activation, evaluation.

Run from the root of the repository:
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/growth_images.py --work /tmp/growth

Whole commands on folders of synthetic JPEG files of 96 px, twice as many from row to row, with
`lite0_copy` at 64 px, so that the cost besides the network shows. Each command is a process of its
own: CPU time of it and its workers, and the peak memory of the largest. `more per image` is the
difference in CPU time to the row before over the difference in images, without the start.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = "64"
FACTORY = "IVF16,PQ8x4np"
TRAINING = 1_000
COUNTS = {
    "extract_fts": (1_000, 2_000, 4_000, 8_000),
    "activate": (25, 50, 100, 200),
    "main": (25, 50, 100, 200),
}


def write_images(folder: Path, count: int) -> Path:
    """Smooth noise, seeded per file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if not path.exists():
            coarse = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(path)
    return folder


def measured(arguments: Sequence[str]) -> tuple[float, float]:
    """CPU seconds, and MB of the largest process."""
    command = [sys.executable, "-m", "activeindex", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="files are made here, and stay")
    work = parser.parse_args().work
    extractor = ["--resize_size", SIZE]
    training, index = work / "training", work / "index"
    written = write_images(work / "images" / "training", TRAINING)
    measured(["extract_fts", *extractor, "--data_dir", str(written), "--output_dir", str(training)])
    fts = str(training / "fts.pt")
    measured(["train_index", "--fts_training_path", fts, "--idx_factory", FACTORY, str(index)])
    print("| command | images | CPU s | more per image, ms | peak MB |")
    print("|---|---|---|---|---|")
    for name, counts in COUNTS.items():
        before = None
        for count in counts:
            images = write_images(work / "images" / str(count), count)
            out = str(work / name / str(os.getpid()) / str(count))
            arguments = {
                "extract_fts": ["--data_dir", str(images), "--output_dir", out],
                "activate": ["--index", str(index), str(images), out],
                "main": [
                    *("--data_dir", str(images), "--output_dir", out, "--active", "False"),
                    *("--idx_factory", FACTORY, "--idx_dir", f"{out}.idx", "--save_imgs", "False"),
                    *("--fts_training_path", fts, "--fts_reference_path", fts),
                ],
            }[name]
            seconds, memory = measured([name, *extractor, *arguments])
            more = (
                "" if before is None else f"{1e3 * (seconds - before[1]) / (count - before[0]):.1f}"
            )
            print(f"| {name} | {count:,} | {seconds:.1f} | {more} | {memory:.0f} |", flush=True)
            before = count, seconds


if __name__ == "__main__":
    sys.exit(main())
