"""Activation on a GPU beside the plain loop of baseline.py, in images per second.

Run from the root of the repository, on a machine with a GPU and torchvision:
    python benchmarks/activation_gpu.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt

The network is a ResNet-50 of torchvision with 512 outputs and random weights, which is as fast as
any other; with --sscd it is `sscd_disc_mixup`. Images have 288 pixels. Each arm runs over --warm_up
images and is then timed over --images: from 8-bit pixels in memory to encoded PNG files with their
measured quality; the baseline only to 8-bit pixels, with the network as torchvision builds it.
`passes alone` is the lower bound: forward and backward through the extractor, ten passes for each
image. `of peak` is the arithmetic of the passes (forward, and backward to the pixels, which takes
as much: weights get no gradients) over what --tflops gives for the chip's bfloat16 matrix units.
Also times extraction from images in memory beside the network alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import torch
import torch.nn.functional as F
from baseline import MEAN, STD, activate_plainly

from activation import forward_flops
from activeindex.activation.activate import activate_pictures
from activeindex.activation.results import ActivationResult
from activeindex.activation.settings import PRECISIONS, PRESETS, Precision
from activeindex.extractors.adapt import NetworkExtractor
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.identity import ExtractorIdentity
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels, resize_square, to_pixels, to_tensor
from activeindex.images.picture import Picture
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss

ITERATIONS, BATCH, SIZE = 10, 64, 288


class Called(torch.nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images)


class Unit(torch.nn.Module):
    """A network whose vectors are scaled to unit length."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.network(images).float(), dim=1)


def resnet50() -> tuple[torch.nn.Module, Extractor]:
    """As torchvision builds it, and as this project runs it."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    network = Unit(resnet50(weights=None, num_classes=512)).eval().requires_grad_(False)
    return network, NetworkExtractor(network, ExtractorIdentity("resnet50", "random", SIZE))


def sscd() -> tuple[torch.nn.Module, Extractor]:
    extractor = load_extractor("sscd_disc_mixup")

    def network(normalised: torch.Tensor) -> torch.Tensor:
        return extractor(normalised * STD.to(normalised.device) + MEAN.to(normalised.device))

    return Called(network), extractor


def passes(extractor: Extractor, count: int, precision: Precision) -> None:
    """Forward and back alone."""
    shape = (BATCH, 3, SIZE, SIZE)
    images = torch.rand(shape, device=extractor.device, requires_grad=True)
    for _ in range(-(-count // BATCH) * ITERATIONS):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            features = extractor(images)
        torch.autograd.grad(features.float().square().sum(), images)


def timed(function: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--warm_up", type=int, default=192)
    parser.add_argument("--sscd", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile the extractor")
    parser.add_argument("--precision", nargs="*", choices=PRECISIONS, default=["bfloat16"])
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--tflops", type=float, default=989.0, help="989: H100 SXM, dense")
    options = parser.parse_args()
    network, extractor = sscd() if options.sscd else resnet50()
    network, extractor = network.to("cuda"), extractor.to("cuda")
    flops = 2 * forward_flops(extractor, SIZE)
    print(
        f"{torch.cuda.get_device_name()}, {extractor.identity}, {options.images} images, ", end=""
    )
    print(f"{flops / 1e9:.1f} GFLOP in a pass of an image", flush=True)
    extraction(extractor)
    training = read_features(options.fts_training_path, "fts_training_path").values
    trained = train_faiss(training, "IVF64,PQ8x8", "L2")
    quantiser = Quantiser(trained)
    paths = list_images(options.data_dir)[: options.images]
    small = [to_pixels(resize_square(to_tensor(read_pixels(path)), SIZE)) for path in paths]
    pixels = [small[number % len(small)] for number in range(options.images)]
    print("| arm | passes | images/s | ratio | of peak | distance to target | PSNR |")
    print("|---|---|---|---|---|---|---|", flush=True)

    def line(name: str, count: int, function: Callable[[list[Pixels]], object]) -> float:
        function(pixels[: options.warm_up])
        found: list[object] = []
        seconds = timed(lambda: found.append(function(pixels)))
        rate = len(pixels) / seconds
        share = rate * count * flops / options.tflops / 1e12
        result, seen = found[0], " | "
        if isinstance(result, ActivationResult):
            seen = f"{result.distance_before:.3f} → {result.distance_after:.3f} | {result.psnr:.2f}"
        ratio = f"{rate / plain:.1f}" if plain else "1"
        print(f"| {name} | {count} | {rate:.0f} | {ratio} | {share:.1%} | {seen} |", flush=True)
        return rate

    def baseline(images: Sequence[Pixels]) -> None:
        for first in range(0, len(images), BATCH):
            index = faiss.clone_index(trained)
            batch = images[first : first + BATCH]
            activate_plainly(batch, network, SIZE, index, device="cuda")

    plain = 0.0
    plain = line("baseline", ITERATIONS, baseline)
    if options.compile:
        extractor.compile()
    for precision in options.precision:
        line(
            f"passes alone, {precision}",
            ITERATIONS,
            lambda images, precision=precision: passes(extractor, len(images), precision),
        )
        for name in options.presets:
            preset = PRESETS[name]
            line(
                f"{name}, {precision}",
                preset.settings.iterations * (1 + preset.settings.edited_views),
                lambda images, preset=preset, precision=precision: activate_pictures(
                    [Picture(image) for image in images],
                    extractor,
                    quantiser,
                    preset.settings.replace(precision=precision),
                    release=preset.release,
                ),
            )


def extraction(extractor: Extractor) -> None:
    """Features of images in memory, against the network alone."""
    images = torch.rand(1024, 3, SIZE, SIZE)
    there = images.to(extractor.device)

    def alone() -> None:
        with torch.inference_mode():
            for part in torch.split(there, BATCH):
                extractor(part)

    def extracted() -> None:
        for part in torch.split(images, 256):
            features_of(extractor, part)

    for name, function in (("network alone", alone), ("features_of", extracted)):
        function()
        print(f"extraction, {name}: {len(images) / timed(function):.0f} images/s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
