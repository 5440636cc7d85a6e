"""How the codec goes into the loop, and what halved chroma costs: alternatives side by side.

Run from the root of the repository, after benchmarks/extractors.py has extracted into extractors/:
    OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. python benchmarks/codecs.py \
        --data_dir disc/references_10k \
        --fts_training_path extractors/EfficientNet-Lite0_mean/training/fts.npy

The first --images images are activated through EfficientNet-Lite0 for JPEG at quality 90 with the
codec outside the loop, inside it (Pillow's forward, the gradient passes unchanged: what the package
does), and inside it with the gradient of kornia's differentiable JPEG; without chroma subsampling
(4:4:4) and with it (4:2:0). And for PNG at 42 dB, with the budget in the loop or at the end only.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from kornia.enhance import jpeg_codec_differentiable
from PIL import Image

from activeindex.activation.activate import PAPER
from activeindex.activation.budget import Budget
from activeindex.activation.distortion import initial_distortion
from activeindex.activation.loop import OptimizationState, optimise
from activeindex.activation.objective import Objective
from activeindex.activation.release import Release, ReleaseSettings
from activeindex.activation.render import BudgetedRenderer
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import features_of
from activeindex.images.encoding import PNG, FileFormat, decode
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels, to_pixels, to_tensor
from activeindex.images.picture import read_picture
from activeindex.images.resizing import resize_square
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_index
from extractors import lite0

QUALITY = 90


class Outside(BudgetedRenderer):
    """The optimisation sees neither codec nor budget."""

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        return self.original + distortion


class Kornias(BudgetedRenderer):
    """Forward as the package does, backward through kornia's codec."""

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        real = super().__call__(distortion.detach())
        quality = torch.tensor([float(QUALITY)])
        soft = jpeg_codec_differentiable((self.original + distortion).clamp(0, 1), quality)
        return soft + (real - soft.detach())


class Through420(Outside):
    """Shows JPEG with halved chroma."""

    def __call__(self, distortion: torch.Tensor) -> torch.Tensor:
        shown = super().__call__(distortion)
        return shown + (to_tensor(halved(to_pixels(shown[0])))[None] - shown).detach()


def halved(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=2)
    return decode(file.getvalue())


def measure(
    kind: type[BudgetedRenderer],
    settings: ReleaseSettings,
    paths: list[Path],
    extractor: Extractor,
    quantiser: Quantiser,
) -> str:
    rows = []
    for path in paths:
        release = Release(read_picture(path), settings, torch.device("cpu"))
        feature = features_of(extractor, resize_square(release.original, extractor.input_size))
        objective = Objective.of(feature, [quantiser], PAPER)
        start = initial_distortion(release.original.shape, torch.Generator().manual_seed(0))
        moving = OptimizationState(kind([release]), objective, PAPER, start)
        optimise([moving], extractor, PAPER)
        made = moving.result()
        if kind is Through420:
            pixels = halved(to_pixels((release.original + made)[0]))
        else:
            [file] = moving.shown.released.write(made, [float(moving.shown.amplitude)])
            pixels = file.pixels
        seen = to_tensor(pixels)[None]
        after = features_of(extractor, resize_square(seen, extractor.input_size))
        error = float((seen - release.original).square().mean())
        far, near = (float(np.linalg.norm(each - objective.targets)) for each in (feature, after))
        rows.append((-10 * np.log10(error), far, near))
    psnr, far, near = np.mean(rows, axis=0)
    return f"{psnr:.2f} | {far:.3f} → {near:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4)
    options = parser.parse_args()
    training = read_features(options.fts_training_path, "fts_training_path").values
    quantiser = Quantiser(train_index(training[:1500], "IVF16,PQ8x6np", "L2"))
    extractor, paths = lite0("mean"), list_images(options.data_dir)[: options.images]
    jpeg = ReleaseSettings(FileFormat("jpeg", QUALITY))
    png = ReleaseSettings(PNG, Budget(psnr=42.0))
    print("| file | in the loop | PSNR | distance to target |\n|---|---|---|---|")
    for name, how, kind, settings in (
        ("JPEG 4:4:4", "nothing", Outside, jpeg),
        ("JPEG 4:4:4", "Pillow's codec, gradient unchanged", BudgetedRenderer, jpeg),
        ("JPEG 4:4:4", "Pillow's codec, gradient of kornia's", Kornias, jpeg),
        ("JPEG 4:2:0", "Pillow's codec, gradient unchanged", Through420, jpeg),
        ("PNG, 42 dB", "nothing", Outside, png),
        ("PNG, 42 dB", "the budget", BudgetedRenderer, png),
    ):
        row = measure(kind, settings, paths, extractor, quantiser)
        print(f"| {name} | {how} | {row} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
