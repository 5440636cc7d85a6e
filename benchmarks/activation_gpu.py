"""Activation on a GPU against the plain loop of baseline.py: images per second.

Run from the root of the repository, on a machine with a GPU:
    python benchmarks/activation_gpu.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt

Images of the extractor's own size, all arms in turn, best of --rounds: from 8-bit pixels in memory
to encoded PNG files with their measured quality; the baseline only to 8-bit pixels. `passes alone`
is the floor: forward and back through the extractor for as many images and iterations, channels
last. `of peak` is the arithmetic of the passes (forward, and back to the pixels: about twice
forward) over what --tflops says of the chip's bfloat16 matrix units.
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

from activation import forward_flops
from activeindex.activation import PRECISIONS, PRESETS, activate, read_pixels
from activeindex.extractors import Extractor, features_of, load_extractor, read_features
from activeindex.images import (
    Pixels,
    list_images,
    measure_quality,
    resize_square,
    to_pixels,
    to_tensor,
)
from activeindex.indexing import Quantiser, train_index

ITERATIONS, BATCH = 10, 64
Arm = Callable[[], Sequence[Pixels]]


def passes(extractor: Extractor, count: int, precision: str) -> None:
    """Forward and back alone."""
    size = extractor.input_size
    images = torch.rand(BATCH, 3, size, size, device=extractor.device, requires_grad=True)
    for _ in range(-(-count // BATCH) * ITERATIONS):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            features = extractor(images)
        torch.autograd.grad(features.float().square().sum(), images)
    torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tflops", type=float, default=989.0, help="989: H100 SXM, dense")
    options = parser.parse_args()
    device = "cuda"
    extractor = load_extractor().to(torch.device(device))
    network, size = plain_network("sscd_disc_mixup", device)
    training = read_features(options.fts_training_path, "fts_training_path").values
    trained = train_index(training, "IVF64,PQ8x8", "L2")
    quantiser = Quantiser(trained)
    paths = list_images(options.data_dir)
    small = [resize_square(to_tensor(read_pixels(path)), size) for path in paths]
    pixels = [to_pixels(small[number % len(small)]) for number in range(options.images)]
    tensors = [to_tensor(each) for each in pixels]

    def baseline() -> list[Pixels]:
        out = []
        for first in range(0, len(pixels), BATCH):
            batch = pixels[first : first + BATCH]
            index = faiss.clone_index(trained)
            out += activate_plainly(batch, network, size, index, device=device)
        return out

    arms: dict[str, Callable[[], Sequence[Pixels] | None]] = {"baseline": baseline}
    for precision in PRECISIONS:
        arms[f"passes alone, {precision}"] = lambda precision=precision: passes(
            extractor, len(pixels), precision
        )
        for name, preset in PRESETS.items():
            arms[f"{name}, {precision}"] = lambda preset=preset, precision=precision: [
                image.pixels
                for image in activate(
                    tensors,
                    extractor,
                    quantiser,
                    preset.settings.replace(precision=precision),
                    release=preset.release,
                ).images
            ]
    best: dict[str, float] = {}
    released: dict[str, Sequence[Pixels] | None] = {}
    for round_ in range(options.rounds + 1):
        for name, arm in arms.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            released[name] = arm()
            torch.cuda.synchronize()
            if round_:  # The first one warms up.
                spent = time.perf_counter() - start
                best[name] = min(best.get(name, spent), spent)

    def features(images: Sequence[Pixels]) -> np.ndarray:
        return features_of(extractor, torch.stack([to_tensor(image) for image in images]))

    targets = quantiser.reconstruct(features(pixels))
    flops = 3 * ITERATIONS * forward_flops(extractor, size)
    print(f"{torch.cuda.get_device_name()}, {extractor.identity}, {len(pixels)} images, ", end="")
    print(f"{flops / 1e9:.0f} GFLOP in the passes of an image")
    print("| arm | images/s | ratio | of peak | distance to target | PSNR |")
    print("|---|---|---|---|---|---|")
    for name, seconds in best.items():
        rate = len(pixels) / seconds
        line = f"| {name} | {rate:.0f} | {best['baseline'] / seconds:.1f} "
        line += f"| {rate * flops / options.tflops / 1e12:.1%} |"
        images = released[name]
        if images is not None:
            distance = np.linalg.norm(features(images) - targets, axis=1).mean()
            psnr = np.mean([measure_quality(*p).psnr for p in zip(pixels, images, strict=True)])
            line += f" {distance:.3f} | {psnr:.2f} |"
        else:
            line += " | |"
        print(line, flush=True)
    extraction(extractor)


def extraction(extractor: Extractor) -> None:
    """Features of images in memory, against the network alone."""
    size = extractor.input_size
    images = torch.rand(1024, 3, size, size)
    there = images.to(extractor.device)

    def alone() -> None:
        with torch.inference_mode():
            for part in torch.split(there, 256):
                extractor(part)
        torch.cuda.synchronize()

    def extracted() -> None:
        for part in torch.split(images, 256):
            features_of(extractor, part)

    for name, function in (("network alone", alone), ("features_of", extracted)):
        function()
        start = time.perf_counter()
        function()
        print(f"{name}: {len(images) / (time.perf_counter() - start):.0f} images/s")


if __name__ == "__main__":
    sys.exit(main())
