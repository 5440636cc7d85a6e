"""Images that are stacked for an accelerator move as if each were alone."""

import numpy as np
import pytest
import torch

from activeindex.activation.loop import optimise
from activeindex.activation.objective import Objective
from activeindex.activation.perceptual import in_pixels, squash
from activeindex.activation.render import Original, Renderer
from activeindex.activation.settings import PRESETS, Budget, ReleaseSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.images.formats import FORMATS, FileFormat, FormatName
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.images.picture import Picture
from activeindex.indexing.quantiser import Quantiser

SIDE = 128


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, Pixels]) -> list[Picture]:
    """In colours, half transparent, grey."""
    parts = [photographs[name][40 : 40 + SIDE, 140 : 140 + SIDE] for name in ("astronaut", "china")]
    alpha = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE)
    grey = photographs["camera"][:SIDE, :SIDE]
    return [Picture(parts[0]), Picture(parts[1], alpha), Picture(grey, grey=True)]


def distortions(
    pictures: list[Picture],
    numbers: list[int],
    extractor: Extractor,
    quantiser: Quantiser,
    preset: str,
    settings: ReleaseSettings,
) -> list[torch.Tensor]:
    """The distortions after three steps, in pixel units."""
    chosen, device = PRESETS[preset].settings.replace(iterations=3), extractor.device
    generators = [torch.Generator().manual_seed(number) for number in numbers]
    originals = [Original.of(picture, settings) for picture in pictures]
    render = Renderer(originals, generators, chosen, extractor.input_size, device)
    images = [to_tensor(original.picture.pixels) for original in originals]
    squares = torch.stack([resize_square(image, extractor.input_size) for image in images])
    features = features_of(extractor, squares)
    objective = Objective.of(features, [quantiser], chosen).rows(range(len(pictures)), device)
    optimise(render, objective, extractor, chosen, generators)
    return list(in_pixels(squash(render.free[0].detach(), chosen) * 3 * 5 / 255))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_stack_moves_as_each_of_its_images_alone(
    pictures: list[Picture],
    small_sscd: Extractor,
    quantiser: Quantiser,
    preset: str,
    name: FormatName,
) -> None:
    settings = ReleaseSettings(FileFormat(name), Budget(psnr=40.0, ssim=0.95, linf=8))
    arguments = (small_sscd, quantiser, preset, settings)
    together = distortions(pictures, [0, 1, 2], *arguments)
    for number, picture in enumerate(pictures):
        alone = distortions([picture], [number], *arguments)[0]
        # Adam's first steps are signs, which the last bits of a pass may turn where nothing pulls.
        agreeing = torch.isclose(together[number], alone, atol=0.2 / 255).float().mean()
        # How many that are depends on the processor; on a GPU passes of another batch size differ
        # in more than the last bits.
        assert agreeing > (0.9 if small_sscd.device.type == "cpu" else 0.6)
        assert alone.abs().max() > 1 / 255
