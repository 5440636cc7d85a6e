"""The training loop: two views of every image, two losses, averaged weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from training.augment import augment
from training.batches import Batches, normalised
from training.losses import contrast, entropy
from training.precision import autocast
from training.schedule import Schedule
from training.settings import Settings
from training.state import State
from training.strength import STRONG, WEAK

_UNTOUCHED_WEAK = 0.8
"""Share of weak views that are made of the image itself, not of an edited view."""
_UNTOUCHED_STRONG = 0.2
"""Share of strong views likewise."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Rows of the bank to train on, and held-out rows, on the CPU."""

    training: torch.Tensor
    held_out: torch.Tensor

    @classmethod
    def of(cls, count: int, held_out: int, seed: int) -> "Split":
        """Split at random; at most half is held out."""
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        kept = min(held_out, count // 2)
        return cls(order[kept:].sort().values, order[:kept].sort().values)


def steps_per_epoch(rows: int, batch: int) -> int:
    """Return the whole batches among ``rows`` images, at least one."""
    return max(1, rows // batch)


def train(
    state: State,
    batches: Batches,
    split: Split,
    settings: Settings,
    schedule: Schedule,
    after: Callable[[Record], None],
) -> None:
    """Train from the given state to the end of the schedule.

    The order of images and the augmentation of a step depend on the seed and the step's number
    alone, so an interrupted run trains on the same views as another.

    Args:
        state: Changed in place.
        batches: Batches of the bank.
        split: Rows to train on.
        settings: Settings of the training.
        schedule: Schedule of the run.
        after: Called after every step with a record for the log; its time is counted.
    """
    speed = _Speed(batches.device)
    while (progress := schedule.progress(state.step, state.elapsed)) < 1:
        started = time.perf_counter()
        size = settings.curriculum.size(progress)
        rate = schedule.learning_rate(progress)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        rows = _rows(split.training, settings.batch, settings.seed, state.step)
        first, second = _two_views(batches, rows, size, settings.seed, state.step)
        parts = _step(state, first, second, settings)
        state.step += 1
        state.update_average()
        speed.count(2 * len(rows), size)
        after(
            {
                "step": state.step,
                "progress": progress,
                "resolution": size,
                "rate": rate,
                "images_per_second": speed.value,
                **parts,
            }
        )
        state.elapsed += time.perf_counter() - started


def _step(
    state: State, first: torch.Tensor, second: torch.Tensor, settings: Settings
) -> dict[str, torch.Tensor]:
    """Make one update; the losses stay on the device, so that nothing waits."""
    state.network.train()
    if settings.frozen_norms:
        for layer in state.network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()
    with autocast(first.device):
        # Together, so that the norms see one mixture of both kinds of views.
        features = state.network(normalised(torch.cat([first, second])))
    one, other = features.float().chunk(2)
    told_apart = contrast(one, other, settings.temperature)
    spread = entropy(one, other)
    loss = told_apart + settings.entropy_weight * spread
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    return {"loss": loss.detach(), "contrast": told_apart.detach(), "entropy": spread.detach()}


def _rows(training: torch.Tensor, batch: int, seed: int, step: int) -> torch.Tensor:
    """Return the images of a step; every epoch has an order of its own."""
    each = steps_per_epoch(len(training), batch)
    generator = torch.Generator().manual_seed(_mixed(seed, step // each, 1))
    order = torch.randperm(len(training), generator=generator)
    start = step % each * batch
    return training[order[start : start + batch]]


def _two_views(
    batches: Batches, rows: torch.Tensor, size: int, seed: int, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a weak and a strong view of each image, from slots drawn for this step."""
    draws = torch.Generator().manual_seed(_mixed(seed, step, 2))
    generator = torch.Generator(batches.device).manual_seed(_mixed(seed, step, 3))
    views = []
    for strength, untouched in ((WEAK, _UNTOUCHED_WEAK), (STRONG, _UNTOUCHED_STRONG)):
        edited = torch.randint(1, batches.slots, rows.shape, generator=draws)
        whole = torch.rand(rows.shape, generator=draws) < untouched
        pixels = batches.pixels(rows, edited.masked_fill(whole, 0))
        views.append(augment(pixels, size, strength, generator))
    return views[0], views[1]


def _mixed(seed: int, number: int, purpose: int) -> int:
    return (seed * 1_000_003 + number) * 7 + purpose


class _Speed:
    """Images per second, averaged over the last steps at the same resolution."""

    def __init__(self, device: torch.device) -> None:
        self.value = 0.0
        self._device = device
        self._size = 0
        self._images = 0
        self._since = 0.0

    def count(self, images: int, size: int) -> None:
        now = time.perf_counter()
        if size != self._size or self._images >= 32 * images:
            self._size, self._images, self._since = size, 0, now
            return
        self._images += images
        self.value = self._images / (now - self._since)
