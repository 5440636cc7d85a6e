"""The loop of Fernandez et al., ICLR 2023: shape, add, extract, compare, step.

Each image has its own free tensor and loss, which is not averaged with those of others; images of
one size are only stacked, and go through the extractor and back together, where that is faster. So
the result depends on neither the batch nor the order, up to the last bits of a pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from activeindex.activation.objective import Losses, Objective
from activeindex.activation.optimizers import build_optimiser, build_scheduler
from activeindex.activation.perceptual import in_pixels, jnd_map, shape_distortion
from activeindex.activation.render import BudgetedRenderer
from activeindex.activation.settings import ActivationSettings, Precision
from activeindex.edits.differentiable import edited_views
from activeindex.extractors.base import Extractor
from activeindex.images.resizing import resize_square


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


class OptimizationState:
    """Images of one size whose distortions are being optimised, each for itself.

    Args:
        shown: What readers see of the images under distortions in pixel units.
        objective: Where their features should go.
        settings: What to optimise and how.
        starts: The free tensors at the start, ``(B, 3, H, W)``; see :func:`initial_distortion`.
        numbers: The images' numbers.
        generators: Of the edited views, one for each image; none where the settings ask for none.

    Attributes:
        shown: As given.
        objective: As given.
        numbers: As given.
        passes: How often each image, edited views included, went through the extractor and back.
        distortion: In normalised space, ``(B, 3, H, W)``; that of the last call of :meth:`seen`.
    """

    distortion: torch.Tensor

    def __init__(
        self,
        shown: BudgetedRenderer,
        objective: Objective,
        settings: ActivationSettings,
        starts: torch.Tensor,
        numbers: Sequence[int] = (0,),
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.objective, self.numbers, self.passes = objective, tuple(numbers), 0
        self._settings, self.shown, self._generators = settings, shown, tuple(generators)
        original = shown.original
        attenuated = settings.use_attenuation
        self._jnd = jnd_map(original) if attenuated else torch.zeros_like(original[:, :1])
        self._free = starts.to(original.device).requires_grad_()
        self.optimiser = build_optimiser(settings.optimizer, [self._free])
        self._advance = build_scheduler(settings.scheduler, self.optimiser)

    def seen(self, size: int) -> torch.Tensor:
        """What the extractor sees of the images now, and of v views of each after random edits.

        Returns:
            ``((1 + v) B, 3, size, size)``: the images themselves, then a view of each, …
        """
        self.distortion = shape_distortion(self._free, self._jnd, self._settings)
        images = resize_square(self.shown(in_pixels(self.distortion)), size)
        seen = [images]
        for _ in range(self._settings.edited_views):
            seen.append(edited_views(images, self._generators))
        return torch.cat(seen)

    def losses(self, features: torch.Tensor) -> Losses:
        """The losses ``(B,)`` for the features ``((1 + v) B, d)`` of what was seen: their means."""
        parts = torch.split(features, len(self.numbers))
        losses = [self.objective(part, self.distortion) for part in parts]
        self.passes += len(losses)
        return Losses.mean(losses)

    def advance(self, steps: int) -> None:
        """Tells the scheduler how many steps were taken."""
        self._advance(steps)

    def result(self) -> torch.Tensor:
        """The distortions ``(B, 3, H, W)`` in pixel units, before the budget."""
        with torch.no_grad():
            return in_pixels(shape_distortion(self._free, self._jnd, self._settings))


def optimise(
    images: Sequence[OptimizationState],
    extractor: Extractor,
    settings: ActivationSettings,
    on_step: Callable[[Step], None] | None = None,
) -> None:
    """Moves images towards their objectives, through the extractor together.

    Args:
        images: The images; all of them use the same kind of optimiser, and one that looks around
            before it steps (L-BFGS) has one image at a time.
        extractor: Maps images to features.
        settings: How many steps to take, and the precision of the passes.
        on_step: Called for each image before each of its steps.
    """
    if not images:
        return
    for iteration in range(settings.iterations):
        if isinstance(images[0].optimiser, torch.optim.LBFGS):
            for image in images:
                alone = partial(_pass, [image], extractor, settings.precision, iteration, on_step)
                image.optimiser.step(alone)  # type: ignore[arg-type]
        else:
            _pass(images, extractor, settings.precision, iteration, on_step)
            for image in images:
                image.optimiser.step()
        for image in images:
            image.advance(iteration + 1)


def _pass(
    images: Sequence[OptimizationState],
    extractor: Extractor,
    precision: Precision,
    iteration: int,
    on_step: Callable[[Step], None] | None,
) -> torch.Tensor:
    """Through the extractor and back: leaves the gradients, gives the loss."""
    for image in images:
        image.optimiser.zero_grad()
    seen = [image.seen(extractor.input_size) for image in images]
    together = torch.cat(seen)
    with torch.autocast(together.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features = torch.split(extractor(together).float(), list(map(len, seen)))
    losses = [image.losses(part) for image, part in zip(images, features, strict=True)]
    loss = torch.cat([each.total for each in losses]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    for image, each in zip(images, losses, strict=True):
        if on_step is not None:
            parts = torch.stack([each.total, each.feature, each.image, each.margin], dim=1)
            for number, values in zip(image.numbers, parts.tolist(), strict=True):
                on_step(Step(number, iteration, *values))
    return loss
