"""Activation on one CPU core, beside the plain loop of baseline.py.

Run:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/activation.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt

Prints CPU time, distance to the target and PSNR. All arms run in turn over the same images,
--rounds times; the best round of each counts. Time is CPU time in seconds of one core per image,
which other programs on the machine change little. `ratio` is the baseline's time over the arm's.
`of peak` is the arithmetic of the passes (forward, and backward to the pixels, which takes as much:
weights get no gradients) over what --gflops allows in that time. `passes alone` is the lower bound
of ten passes: only forward and backward through the extractor.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
import torch
from baseline import activate_plainly, plain_network
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from activeindex.activation.activate import activate_pictures
from activeindex.activation.settings import PRESETS, Preset
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.images.quality import measure_quality
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss

PASSES = 10
"""Of the baseline."""

NOISE = 3.0
"""Standard deviation of the noise of a camera in 8-bit levels."""

FilledIndex = Callable[[Sequence[Pixels]], list[Pixels]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model_name", default="sscd_disc_mixup", help="or a file")
    parser.add_argument("--resize_size", type=int, help="side of its images, if not its own")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--megapixels", type=float, help="enlarge the images, with camera noise")
    parser.add_argument("--presets", nargs="*", choices=[*PRESETS], default=[*PRESETS])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--gflops", type=float, help="peak of one core, e.g. 32 x its clock in GHz")
    options = parser.parse_args()
    extractor = load_extractor(options.model_name, options.resize_size)
    network, size = plain_network(options.model_name, options.resize_size)
    training = read_features(options.fts_training_path, "fts_training_path").values
    trained = train_faiss(training, "IVF64,PQ8x8", "L2")
    quantiser = Quantiser(trained)
    images = [read_pixels(path) for path in list_images(options.data_dir)[: options.images]]
    if options.megapixels is not None:
        images = [enlarged(pixels, options.megapixels) for pixels in images]
    arms: dict[str, FilledIndex] = {
        "baseline": lambda pixels: activate_plainly(
            pixels, network, size, faiss.clone_index(trained)
        )
    }
    arms["passes alone"] = lambda pixels: passes_alone(pixels, extractor, size)
    for name in options.presets:
        preset = PRESETS[name]
        arms[name] = lambda pixels, preset=preset: [
            image.pixels
            for image in activate_pictures(
                [to_tensor(p) for p in pixels],
                extractor,
                quantiser,
                preset.settings,
                release=preset.release,
            ).images
        ]
    best: dict[str, float] = {}
    released: dict[str, list[Pixels]] = {}
    for _ in range(options.rounds):
        for name, arm in arms.items():
            start = time.process_time()
            released[name] = arm(images)
            spent = (time.process_time() - start) / len(images)
            best[name] = min(best.get(name, spent), spent)

    def features(pixels: Sequence[Pixels]) -> np.ndarray:
        squares = [resize_square(to_tensor(p), size) for p in pixels]
        return features_of(extractor, torch.stack(squares))

    targets = quantiser.reconstruct(features(images))
    passes = {name: passes_of(preset) for name, preset in PRESETS.items()}
    once = 2 * forward_flops(extractor, size)
    print(f"{extractor.identity}, {len(images)} images, {torch.get_num_threads()} threads")
    print(f"{once / 1e9:.1f} GFLOP in a pass of an image, forward and back")
    print("| arm | passes | core-seconds per image | ratio | of peak | distance to target | PSNR |")
    print("|---|---|---|---|---|---|---|")
    for name, seconds in best.items():
        distance = np.linalg.norm(features(released[name]) - targets, axis=1).mean()
        psnr = np.mean([measure_quality(*p).psnr for p in zip(images, released[name], strict=True)])
        count = passes.get(name, PASSES)
        share = f"{count * once / seconds / options.gflops / 1e9:.0%}" if options.gflops else ""
        print(
            f"| {name} | {count} | {seconds:.2f} | {best['baseline'] / seconds:.2f} | {share} "
            f"| {distance:.3f} | {psnr:.2f} |"
        )


def passes_of(preset: Preset) -> int:
    return preset.settings.iterations * (1 + preset.settings.edited_views)


def enlarged(pixels: Pixels, megapixels: float) -> Pixels:
    """Enlarges an image; noise stands for the detail that a camera would have seen."""
    height, width = pixels.shape[:2]
    factor = (megapixels * 1e6 / (height * width)) ** 0.5
    size = round(width * factor), round(height * factor)
    large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(0).normal(0.0, NOISE, large.shape)
    found: Pixels = np.clip(np.rint(large + noise), 0, 255).astype(np.uint8)
    return found


def passes_alone(images: Sequence[Pixels], extractor: Extractor, size: int) -> list[Pixels]:
    """The floor: nothing but the passes of the paper's preset."""
    for image in images:
        square = resize_square(to_tensor(image), size).unsqueeze(0).requires_grad_()
        for _ in range(PASSES):
            extractor(square).sum().backward()
    return list(images)


def forward_flops(extractor: Extractor, size: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        extractor(torch.zeros(1, 3, size, size, device=extractor.device))
    return counter.get_total_flops()


if __name__ == "__main__":
    sys.exit(main())
