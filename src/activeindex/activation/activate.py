"""Activation: moves images' features towards their targets by a distortion that is not seen.

The loop of Fernandez et al., ICLR 2023: shape the free tensor into a distortion, add it to the
image, extract the feature, compare it with the target, step. Each image is optimised for itself:
its loss is not averaged with those of others and its noise is seeded by its number, so the result
depends on neither the batch nor the order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from activeindex.activation.distortion import (
    in_pixels,
    initial_distortion,
    shape_distortion,
)
from activeindex.activation.jnd import jnd_map
from activeindex.activation.objective import Objective
from activeindex.activation.optimisers import build_optimiser, build_scheduler
from activeindex.activation.release import Release, ReleaseSettings
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError, ShapeError
from activeindex.extractors import Extractor, features_of
from activeindex.images import (
    Picture,
    Pixels,
    Quality,
    resize_square,
    to_pixels,
    to_tensor,
)
from activeindex.indexing import Quantiser

PAPER = ActivationSettings()
AS_PNG = ReleaseSettings()


@dataclass(frozen=True)
class Aim:
    """What an image is moved towards in one index.

    Attributes:
        code: The code that the index stores: that of the *original*'s feature.
        distance_before: Euclidean distance of the original's feature to the target.
        distance_after: Euclidean distance of the released image's feature to the target.
    """

    code: bytes
    distance_before: float
    distance_after: float


@dataclass(frozen=True)
class ActivatedImage:
    """One image after activation.

    Attributes:
        data: The file that is to be released.
        pixels: What its reader sees, 8-bit RGB ``(H, W, 3)``, transparency composed on white.
        quality: PSNR, SSIM and L-infinity of ``pixels`` against the 8-bit original.
        budget_met: Whether they keep the budget. The only reason why not is that the file format
            alone breaks it; the image is then not activated, only encoded.
        passes: How often the image went through the extractor and back.
        aims: One for each index, in their order.
    """

    data: bytes
    pixels: Pixels
    quality: Quality
    budget_met: bool
    passes: int
    aims: tuple[Aim, ...]

    @property
    def code(self) -> bytes:
        """The code that the first index stores."""
        return self.aims[0].code

    @property
    def distance_before(self) -> float:
        """Mean distance of the original's feature to its targets."""
        return float(np.mean([aim.distance_before for aim in self.aims]))

    @property
    def distance_after(self) -> float:
        """Mean distance of the feature of ``pixels`` to the same targets."""
        return float(np.mean([aim.distance_after for aim in self.aims]))


@dataclass(frozen=True)
class ActivationResult:
    """A batch of activated images, in the order they came."""

    images: tuple[ActivatedImage, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def psnr(self) -> float:
        """Mean PSNR in dB."""
        return float(np.mean([image.quality.psnr for image in self.images]))

    @property
    def ssim(self) -> float:
        """Mean SSIM."""
        return float(np.mean([image.quality.ssim for image in self.images]))

    @property
    def linf(self) -> float:
        """Mean L-infinity in 8-bit levels."""
        return float(np.mean([image.quality.linf for image in self.images]))

    @property
    def distance_before(self) -> float:
        """Mean distance of the original features to their targets."""
        return float(np.mean([image.distance_before for image in self.images]))

    @property
    def distance_after(self) -> float:
        """Mean distance of the activated images' features to the same targets."""
        return float(np.mean([image.distance_after for image in self.images]))

    def __str__(self) -> str:
        return (
            f"{len(self)} images: PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, "
            f"L-inf {self.linf:.1f}, distance to target {self.distance_before:.3f} -> "
            f"{self.distance_after:.3f}"
        )


@dataclass(frozen=True)
class Step:
    """Where the optimisation of one image stands, for logs.

    Attributes:
        number: The image's number.
        iteration: Steps taken so far, counted from 0.
        loss: The total loss before the step.
        loss_f: The feature loss in it, without its weight.
        loss_i: The image loss in it, without its weight.
        loss_m: The margin loss in it, without its weight.
    """

    number: int
    iteration: int
    loss: float
    loss_f: float
    loss_i: float
    loss_m: float = 0.0


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
    return ActivationResult(
        tuple(
            _activate_one(picture, extractor, quantisers, settings, release, seed, number, on_step)
            for picture, number in zip(pictures, numbers, strict=True)
        )
    )


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


def _activate_one(
    picture: Picture,
    extractor: Extractor,
    quantisers: tuple[Quantiser, ...],
    settings: ActivationSettings,
    released_as: ReleaseSettings,
    seed: int,
    number: int,
    on_step: Callable[[Step], None] | None,
) -> ActivatedImage:
    release = Release(picture, released_as, extractor.device)
    original = release.original
    feature = features_of(extractor, resize_square(original, extractor.input_size))
    objective = Objective.of(feature, quantisers, settings).to(extractor.device)
    distortion, passes = torch.zeros_like(original), 0
    if release.attainable:
        generator = torch.Generator().manual_seed(image_seed(seed, number))
        distortion, passes = optimise(
            original, objective, extractor, settings, generator, release, number, on_step
        )
    file = release.write(distortion)
    targets = objective.targets
    seen = resize_square(to_tensor(file.pixels).unsqueeze(0), extractor.input_size)
    return ActivatedImage(
        data=file.data,
        pixels=file.pixels,
        quality=file.quality,
        budget_met=file.budget_met,
        passes=passes,
        aims=tuple(
            Aim(quantiser.encode(feature).tobytes(), float(far), float(near))
            for quantiser, far, near in zip(
                quantisers,
                np.linalg.norm(feature - targets, axis=1),
                np.linalg.norm(features_of(extractor, seen) - targets, axis=1),
                strict=True,
            )
        ),
    )


def image_seed(seed: int, number: int) -> int:
    """The seed of one image's noise."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)


def optimise(
    image: torch.Tensor,
    objective: Objective,
    extractor: Extractor,
    settings: ActivationSettings,
    generator: torch.Generator,
    release: Callable[[torch.Tensor], torch.Tensor],
    number: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> tuple[torch.Tensor, int]:
    """Optimises the distortion of one image.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1], on the extractor's device.
        objective: Where its feature should go.
        extractor: Maps the image to its feature.
        settings: What to optimise and how.
        generator: Draws the noise at the start.
        release: What a reader sees of the image under a distortion in pixel units; see
            :class:`~activeindex.activation.release.Release`.
        number: The image's number, for ``on_step``.
        on_step: Called before each step.

    Returns:
        The distortion ``(1, 3, H, W)`` in pixel units, before the budget, and the number of passes
        through the extractor and back.
    """
    jnd = jnd_map(image) if settings.use_attenuation else torch.zeros_like(image[:, :1])
    free = initial_distortion(image.shape, generator).to(image.device).requires_grad_()
    optimiser = build_optimiser(settings.optimizer, [free])
    advance = build_scheduler(settings.scheduler, optimiser)
    passes = 0

    def closure() -> torch.Tensor:
        nonlocal passes
        passes += 1
        optimiser.zero_grad()
        distortion = shape_distortion(free, jnd, settings)
        seen = release(in_pixels(distortion))
        feature = extractor(resize_square(seen, extractor.input_size))
        losses = objective(feature, distortion)
        loss = losses.total.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        if on_step is not None:
            parts = (losses.feature.item(), losses.image.item(), losses.margin.item())
            on_step(Step(number, iteration, loss.item(), *parts))
        return loss

    for iteration in range(settings.iterations):
        optimiser.step(closure)  # type: ignore[arg-type]
        advance(iteration + 1)
    with torch.no_grad():
        return in_pixels(shape_distortion(free, jnd, settings)), passes
