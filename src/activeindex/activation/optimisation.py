"""The loop of Fernandez et al., ICLR 2023: shape, add, extract, compare, step.

Each image has its own free tensor, optimiser and loss, which is not averaged with those of others;
only the pass through the extractor and back is shared, where several images together are faster.
So the result depends on neither the batch nor the order, up to the last bits of a pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from activeindex.activation.distortion import (
    in_pixels,
    initial_distortion,
    shape_distortion,
)
from activeindex.activation.jnd import jnd_map
from activeindex.activation.objective import Objective
from activeindex.activation.optimisers import build_optimiser, build_scheduler
from activeindex.activation.settings import ActivationSettings
from activeindex.extractors import Extractor
from activeindex.images import resize_square


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


class Moving:
    """An image whose distortion is being optimised.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1], on the extractor's device.
        objective: Where its feature should go.
        settings: What to optimise and how.
        generator: Draws the noise at the start.
        release: What a reader sees of the image under a distortion in pixel units; see
            :class:`~activeindex.activation.release.Release`.
        number: The image's number.

    Attributes:
        objective: As given.
        number: As given.
        passes: How often the image went through the extractor and back.
        distortion: In normalised space, ``(1, 3, H, W)``; that of the last call of :meth:`seen`.
    """

    distortion: torch.Tensor

    def __init__(
        self,
        image: torch.Tensor,
        objective: Objective,
        settings: ActivationSettings,
        generator: torch.Generator,
        release: Callable[[torch.Tensor], torch.Tensor],
        number: int = 0,
    ) -> None:
        self.objective, self.number, self.passes = objective, number, 0
        self._settings, self._release = settings, release
        self._jnd = jnd_map(image) if settings.use_attenuation else torch.zeros_like(image[:, :1])
        start = initial_distortion(image.shape, generator).to(image.device)
        self._free = start.requires_grad_()
        self.optimiser = build_optimiser(settings.optimizer, [self._free])
        self._advance = build_scheduler(settings.scheduler, self.optimiser)

    def seen(self, size: int) -> torch.Tensor:
        """What the extractor sees of the image now: ``(1, 3, size, size)``."""
        self.distortion = shape_distortion(self._free, self._jnd, self._settings)
        return resize_square(self._release(in_pixels(self.distortion)), size)

    def advance(self, steps: int) -> None:
        """Tells the scheduler how many steps were taken."""
        self._advance(steps)

    def result(self) -> torch.Tensor:
        """The distortion ``(1, 3, H, W)`` in pixel units, before the budget."""
        with torch.no_grad():
            return in_pixels(shape_distortion(self._free, self._jnd, self._settings))


def optimise(
    images: Sequence[Moving],
    extractor: Extractor,
    iterations: int,
    on_step: Callable[[Step], None] | None = None,
) -> None:
    """Moves images towards their objectives, through the extractor together.

    Args:
        images: The images; all of them use the same kind of optimiser.
        extractor: Maps images to features.
        iterations: Steps to take.
        on_step: Called for each image before each of its steps.
    """
    if not images:
        return
    for iteration in range(iterations):
        if isinstance(images[0].optimiser, torch.optim.LBFGS):  # Looks around before it steps.
            for image in images:
                alone = partial(_pass, [image], extractor, iteration, on_step)
                image.optimiser.step(alone)  # type: ignore[arg-type]
        else:
            _pass(images, extractor, iteration, on_step)
            for image in images:
                image.optimiser.step()
        for image in images:
            image.advance(iteration + 1)


def _pass(
    images: Sequence[Moving],
    extractor: Extractor,
    iteration: int,
    on_step: Callable[[Step], None] | None,
) -> torch.Tensor:
    """Through the extractor and back: leaves the gradients, gives the loss."""
    for image in images:
        image.optimiser.zero_grad()
    features = extractor(torch.cat([image.seen(extractor.input_size) for image in images]))
    losses = [
        image.objective(feature, image.distortion)
        for image, feature in zip(images, features.split(1), strict=True)
    ]
    loss = torch.cat([each.total for each in losses]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    for image, each in zip(images, losses, strict=True):
        image.passes += 1
        if on_step is not None:
            parts = (each.feature.item(), each.image.item(), each.margin.item())
            on_step(Step(image.number, iteration, each.total.item(), *parts))
    return loss
