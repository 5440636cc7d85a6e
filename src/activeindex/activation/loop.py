"""The loop of Fernandez et al., "Active image indexing", ICLR 2023, from top to bottom.

Each iteration (a) shapes the free tensors by the perceptual constraints and (b) adds them to the
images, (c) extracts features, (d) compares them with their targets, (e) computes the gradients of
the loss, and (f) lets the optimiser update the free tensors. The targets are computed once, before
the loop, from the features of the originals
(:class:`~activeindex.activation.objective.Objective`). The weights of the extractor are frozen.

The loop sees squares of the extractor's size alone. :mod:`activeindex.activation.render` goes from
there to pictures and back, within the budget. Free tensors of the extractor's size, budgets, edited
views, the margin loss and bfloat16 are not the paper's: the preset ``paper`` leaves them out.

Each image has its own loss. The losses are summed, not averaged, so that a free tensor gets the
gradient of its own image's loss, and the result depends on neither the batch nor the order, up to
the last bits of a pass. An optimiser that would mix the images is given one at a time
(:func:`~activeindex.activation.optimizers.moves_rows_alone`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from activeindex.activation.objective import Losses, Objective
from activeindex.activation.optimizers import build_optimiser, build_scheduler
from activeindex.activation.render import Renderer
from activeindex.activation.settings import ActivationSettings
from activeindex.edits.differentiable import edited_views
from activeindex.extractors.base import Extractor


@dataclass(frozen=True)
class Step:
    """State of the optimisation of one image before a step, for logs.

    ``activation/activate.py`` makes it of what :func:`optimise` hands to ``on_step``.

    Attributes:
        number: The image's number.
        iteration: Steps taken so far, counted from 0.
        loss: The total loss.
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


def optimise(
    render: Renderer,
    objective: Objective,
    extractor: Extractor,
    settings: ActivationSettings,
    generators: Sequence[torch.Generator] = (),
    on_step: Callable[[int, Losses], None] = lambda iteration, losses: None,
) -> int:
    """Move the free tensors of B images so that their features meet the objective.

    Args:
        render: Makes the squares ``(B, 3, S, S)`` of the free tensors.
        objective: Compares their features with where they should go.
        extractor: Maps squares to features.
        settings: Optimiser, number of steps, views, and precision of the passes.
        generators: Draw the random edits of the views, one for each image; none are needed where
            the settings ask for no views.
        on_step: Called with each iteration and its losses ``(B,)``, before the step is taken; more
            than once if the optimiser computes the gradients more than once in a step.

    Returns:
        How often each image, views included, went through the extractor and back.
    """
    optimizer = build_optimiser(settings.optimizer, render.free)
    advance_scheduler = build_scheduler(settings.scheduler, optimizer)
    passes = 0
    for iteration in range(settings.iterations):
        # A function, as optimisers that search along a line (L-BFGS) call it several times a step.
        def compute_gradients(iteration: int = iteration) -> torch.Tensor:
            nonlocal passes
            optimizer.zero_grad()
            # a. Shape the free tensors by the perceptual constraints, b. add them to the images;
            # the image loss is the distortion's mean square, in normalised space.
            squares, image_loss = render()
            views = settings.edited_views if iteration or settings.image_every_step else 0
            seen = [edited_views(squares, generators) for _ in range(views)]
            if settings.image_every_step or not views:
                seen.insert(0, squares)
            # c. Extract features.
            features = _extract(extractor, torch.cat(seen), settings.precision)
            # d. Compare them with their targets; the loss is the mean over the views.
            of_views = torch.split(features, len(squares))
            losses = Losses.mean([objective(of_view, image_loss) for of_view in of_views])
            # e. Compute the gradients.
            loss = losses.total.sum()
            loss.backward()  # type: ignore[no-untyped-call]
            passes += len(seen)
            on_step(iteration, losses)
            return loss

        # f. Update the free tensors.
        optimizer.step(compute_gradients)  # type: ignore[arg-type]
        advance_scheduler(iteration + 1)
    return passes


def _extract(extractor: Extractor, squares: torch.Tensor, precision: str) -> torch.Tensor:
    with torch.autocast(squares.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features: torch.Tensor = extractor(squares)
    return features.float()
