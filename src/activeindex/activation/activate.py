"""Activation: moves images' features towards their targets by a distortion that is not seen."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from activeindex.activation.objective import Objective
from activeindex.activation.optimisation import Moving, Step, optimise
from activeindex.activation.release import Release, ReleaseSettings
from activeindex.activation.results import ActivatedImage, ActivationResult, Aim
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError, ShapeError
from activeindex.extractors import Extractor, features_of
from activeindex.images import Picture, resize_square, to_pixels, to_tensor
from activeindex.indexing import Features, Quantiser

PAPER = ActivationSettings()
AS_PNG = ReleaseSettings()

_TOGETHER_ON_GPU = 32
"""Images that go through the extractor and back together on an accelerator. On the CPU it is one:
four would take a sixth less time, but convolutions of another batch size may differ in the last
bit, and there results are promised not to depend on the batch."""

_MOST_PIXELS = 2**24
"""Pixels of the images that are activated together; each takes about 100 bytes of memory."""


def activate(
    images: Sequence[torch.Tensor | Picture],
    extractor: Extractor,
    quantiser: Quantiser | Sequence[Quantiser],
    settings: ActivationSettings = PAPER,
    *,
    release: ReleaseSettings = AS_PNG,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> ActivationResult:
    """Activates images of any sizes.

    Args:
        images: Tensors ``(3, H, W)`` in [0, 1], taken at 8 bits; each may have its own size. Or
            pictures, whose transparency, greyness, EXIF and profile are kept.
        extractor: The extractor that the index was built with.
        quantiser: The quantiser of the index that will be searched, or those of several, for all
            of which the images are then activated: the loss is the mean over them.
        settings: What to optimise and how; the paper's by default.
        release: The format of the released files, and the budget that each of them keeps.
        seed: Seeds the noise that the distortions start from.
        numbers: A number per image that seeds its noise together with ``seed``; 0, 1, … by
            default. The same number gives the same result in any batch.
        on_step: Called for each image before each of its steps.

    Returns:
        The activated images in the same order.

    Raises:
        ShapeError: If an image is not ``(3, H, W)``, or the extractor's features have another
            dimension than the index.
        NoTargetError: If the index has no target of the kind asked for.
        InputError: If there are not as many numbers as images, or no quantiser.
    """
    quantisers = as_tuple(quantiser)
    numbers = range(len(images)) if numbers is None else numbers
    if len(numbers) != len(images):
        raise InputError(f"numbers: expected {len(images)}, one per image, found {len(numbers)}")
    pictures = [_as_picture(image) for image in images]
    activated: list[ActivatedImage] = []
    together = 1 if extractor.device.type == "cpu" else _TOGETHER_ON_GPU
    for group in _groups(pictures, together):
        started = [
            _Activation(pictures[i], extractor, quantisers, settings, release, seed, numbers[i])
            for i in group
        ]
        moving = [each.moving for each in started if each.moving is not None]
        optimise(moving, extractor, settings.iterations, on_step)
        activated += [each.result(extractor) for each in started]
    return ActivationResult(tuple(activated))


def _groups(pictures: Sequence[Picture], most: int) -> Iterator[list[int]]:
    """The positions of pictures that are activated together, in order."""
    group: list[int] = []
    pixels = 0
    for position, picture in enumerate(pictures):
        height, width = picture.pixels.shape[:2]
        if group and (len(group) == most or pixels + height * width > _MOST_PIXELS):
            yield group
            group, pixels = [], 0
        group.append(position)
        pixels += height * width
    if group:
        yield group


def as_tuple(quantiser: Quantiser | Sequence[Quantiser]) -> tuple[Quantiser, ...]:
    """One quantiser or several.

    Raises:
        InputError: If there is none, or they quantise features of different dimensions.
    """
    found = (quantiser,) if isinstance(quantiser, Quantiser) else tuple(quantiser)
    if not found:
        raise InputError("quantiser: expected one or more, found none")
    for other in found[1:]:
        if other.dimension != found[0].dimension:
            raise InputError(
                f"{other.identity or 'another quantiser'}: expected an index of features with "
                f"{found[0].dimension} values, found {other.dimension}"
            )
    return found


def _as_picture(image: torch.Tensor | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    if image.dim() != 3 or image.shape[0] != 3:
        raise ShapeError("image", (3, "H", "W"), image.shape)
    return Picture(to_pixels(image))


class _Activation:
    """One image from the original to the file."""

    def __init__(
        self,
        picture: Picture,
        extractor: Extractor,
        quantisers: tuple[Quantiser, ...],
        settings: ActivationSettings,
        released_as: ReleaseSettings,
        seed: int,
        number: int,
    ) -> None:
        self._release = Release(picture, released_as, extractor.device)
        self._quantisers = quantisers
        original = self._release.original
        self._feature: Features = features_of(
            extractor, resize_square(original, extractor.input_size)
        )
        self._objective = Objective.of(self._feature, quantisers, settings).to(extractor.device)
        self.moving: Moving | None = None
        if self._release.attainable:
            generator = torch.Generator().manual_seed(image_seed(seed, number))
            self.moving = Moving(
                original, self._objective, settings, generator, self._release, number
            )

    def result(self, extractor: Extractor) -> ActivatedImage:
        """Writes the file and measures it."""
        moving, feature, targets = self.moving, self._feature, self._objective.targets
        still = self._release.original
        file = self._release.write(torch.zeros_like(still) if moving is None else moving.result())
        seen = resize_square(to_tensor(file.pixels).unsqueeze(0), extractor.input_size)
        return ActivatedImage(
            data=file.data,
            pixels=file.pixels,
            quality=file.quality,
            budget_met=file.budget_met,
            passes=0 if moving is None else moving.passes,
            aims=tuple(
                Aim(quantiser.encode(feature).tobytes(), float(far), float(near))
                for quantiser, far, near in zip(
                    self._quantisers,
                    np.linalg.norm(feature - targets, axis=1),
                    np.linalg.norm(features_of(extractor, seen) - targets, axis=1),
                    strict=True,
                )
            ),
        )


def image_seed(seed: int, number: int) -> int:
    """The seed of one image's noise."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
