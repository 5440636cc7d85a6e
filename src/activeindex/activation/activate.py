"""Activation: moves images' features towards their targets by a distortion that is not seen."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import torch

from activeindex.activation.loop import OptimizationState, Step, optimise
from activeindex.activation.objective import Objective
from activeindex.activation.optimizers import moves_rows_alone
from activeindex.activation.perceptual import initial_distortion
from activeindex.activation.release import Release, ReleasedFile, Releases
from activeindex.activation.render import BudgetedRenderer
from activeindex.activation.results import ActivatedImage, ActivationResult, IndexOutcome
from activeindex.activation.settings import ActivationSettings, ReleaseSettings
from activeindex.edits.differentiable import image_generator
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import code_features, features_of
from activeindex.images.levels import from_levels, stack_levels, to_pixels
from activeindex.images.picture import Picture
from activeindex.images.resizing import resize_square
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.runtime.devices import own_stream
from activeindex.runtime.parallel import Mapper, ThreadMapper, one_by_one, threads_kept
from activeindex.runtime.pool import default_workers
from activeindex.runtime.threads import iterate_in_thread

_Item = TypeVar("_Item")

PAPER = ActivationSettings()
AS_PNG = ReleaseSettings()

_TOGETHER_ON_GPU = 64
"""Images that go through the extractor and back together on an accelerator. On the CPU it is one:
four would take a sixth less time, but convolutions of another batch size may differ in the last
bit, and there results are promised not to depend on the batch."""

_AT_ONCE = 2
"""Groups that are on their way at a time where an accelerator makes the passes: the files of one
are written, and the next is begun, while another goes through the extractor."""

_THREADS = 8
"""At most so many do what is done picture by picture for a group."""

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
        on_step: Called for each image before each of its steps, by one thread at a time.

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
    numbered = zip(pictures, numbers, strict=True)
    groups = (
        Group([picture for picture, _ in group], [number for _, number in group], on_step)
        for group in grouped(numbered, lambda one: one[0].area, extractor.device)
    )
    done = activate_groups(groups, extractor, quantisers, settings, release=release, seed=seed)
    return ActivationResult(tuple(chain.from_iterable(done)))


@dataclass(frozen=True)
class Group:
    """Pictures that are activated together.

    Attributes:
        pictures: No more than :func:`grouped` puts together.
        numbers: A number for each; see :func:`activate`.
        on_step: Called for each image before each of its steps, by one thread at a time.
    """

    pictures: Sequence[Picture]
    numbers: Sequence[int]
    on_step: Callable[[Step], None] | None = None


def activate_groups(
    groups: Iterable[Group],
    extractor: Extractor,
    quantisers: tuple[Quantiser, ...],
    settings: ActivationSettings,
    *,
    release: ReleaseSettings,
    seed: int,
) -> Iterator[list[ActivatedImage]]:
    """Yields the activated images of each group, in order; see :func:`activate`.

    On an accelerator a few groups are on their way at a time, and ``groups`` is asked for the next
    ones in another thread.
    """
    activation = _Activation(extractor, quantisers, settings, release, seed)
    if together_on(extractor.device) == 1:
        return map(activation, groups)
    return iterate_in_thread(_ahead(activation, groups))


def _ahead(
    activation: Callable[[Group], list[ActivatedImage]], groups: Iterable[Group]
) -> Generator[list[ActivatedImage]]:
    with threads_kept(), ThreadPoolExecutor(_AT_ONCE) as pool:
        begun: deque[Future[list[ActivatedImage]]] = deque()
        for group in groups:
            begun.append(pool.submit(activation, group))
            if len(begun) > _AT_ONCE:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def together_on(device: torch.device) -> int:
    """How many images are activated at a time."""
    return 1 if device.type == "cpu" else _TOGETHER_ON_GPU


def grouped(
    items: Iterable[_Item], area: Callable[[_Item], int], device: torch.device
) -> Iterator[list[_Item]]:
    """Puts together what is activated together on a device, in order.

    Args:
        items: Stand for images.
        area: How many pixels one has.
        device: Of the extractor.
    """
    most = together_on(device)
    group: list[_Item] = []
    pixels = 0
    for item in items:
        if group and pixels + area(item) > _MOST_PIXELS:
            yield group
            group, pixels = [], 0
        group.append(item)
        pixels += area(item)
        if len(group) == most:
            yield group
            group, pixels = [], 0
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


@dataclass
class _Image:
    """One image on its way."""

    number: int
    release: Release
    feature: Features
    coded: Features
    objective: Objective
    passes: int = 0
    file: ReleasedFile | None = None


class _Activation:
    """Groups of images, from the originals to the files."""

    def __init__(
        self,
        extractor: Extractor,
        quantisers: tuple[Quantiser, ...],
        settings: ActivationSettings,
        released_as: ReleaseSettings,
        seed: int,
    ) -> None:
        self._extractor, self._quantisers, self._settings = extractor, quantisers, settings
        self._released_as, self._seed = released_as, seed
        self._telling = threading.Lock()

    def __call__(self, group: Group) -> list[ActivatedImage]:
        """Activates pictures of any sizes, all at once."""
        if not group.pictures:
            return []
        if together_on(self._extractor.device) == 1:
            return self._activated(group, one_by_one)
        threads = min(_THREADS, default_workers())
        with own_stream(self._extractor.device) as join:
            return self._activated(group, ThreadMapper(threads, join))

    def _activated(self, group: Group, each: Mapper) -> list[ActivatedImage]:
        images = self._begun(group, each)
        stacks = [(stack, self._moving(stack, each)) for stack in self._stacks(images)]
        moving = [moved for _, moved in stacks]
        on_step = group.on_step and partial(self._tell, group.on_step)
        optimise(moving, self._extractor, self._settings, on_step)
        for stack, moved in stacks:
            amplitudes = moved.shown.amplitude.flatten().tolist()
            files = moved.shown.released.write(moved.result(), amplitudes)
            for image, file in zip(stack, files, strict=True):
                image.file, image.passes = file, moved.passes
        files = [image.file or _unchanged(image.release) for image in images]
        device = self._extractor.device
        released = [from_levels(stack_levels([file.pixels], device)) for file in files]
        return list(map(self._result, images, files, self._features(released)))

    def _tell(self, on_step: Callable[[Step], None], step: Step) -> None:
        with self._telling:
            on_step(step)

    def _begun(self, group: Group, each: Mapper) -> list[_Image]:
        device = self._extractor.device
        releases = each(lambda one: Release(one, self._released_as, device), group.pictures)
        originals = [release.original for release in releases]
        features = self._features(originals)
        coded = self._coded(originals) if self._settings.descriptor_views else features
        # Threads would take longer: what little FAISS does for one feature lies between lines of
        # Python, which wait for each other.
        objectives = [Objective.of(one, self._quantisers, self._settings) for one in coded]
        return list(map(_Image, group.numbers, releases, features, coded, objectives))

    def _start(self, image: _Image) -> tuple[torch.Tensor, torch.Generator]:
        generator = image_generator(self._seed, image.number)
        start = initial_distortion(image.release.original.shape, generator)
        return start.to(self._extractor.device), generator

    def _features(self, images: Sequence[torch.Tensor]) -> list[Features]:
        """``(1, d)`` for each image ``(1, 3, H, W)``."""
        return np.split(features_of(self._extractor, self._squares(images)), len(images))

    def _coded(self, images: Sequence[torch.Tensor]) -> list[Features]:
        """``(1, d)`` for each original ``(1, 3, H, W)``: what the index stores the code of."""
        views = self._settings.descriptor_views
        return np.split(code_features(self._extractor, self._squares(images), views), len(images))

    def _squares(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([resize_square(image, self._extractor.input_size) for image in images])

    def _stacks(self, images: Sequence[_Image]) -> list[list[_Image]]:
        """What can be optimised, by size; alone where the optimiser would mix the stacked."""
        stackable = moves_rows_alone(self._settings.optimizer)
        stacks: dict[object, list[_Image]] = {}
        for position, image in enumerate(images):
            if image.release.attainable:
                size: object = image.release.original.shape
                stacks.setdefault(size if stackable else position, []).append(image)
        return list(stacks.values())

    def _moving(self, stack: Sequence[_Image], each: Mapper) -> OptimizationState:
        objective = Objective.of_several([image.objective for image in stack])
        starts, generators = zip(*each(self._start, stack), strict=True)
        return OptimizationState(
            BudgetedRenderer([image.release for image in stack], each),
            objective.to(self._extractor.device),
            self._settings,
            torch.cat(starts),
            [image.number for image in stack],
            generators,
        )

    def _result(self, image: _Image, file: ReleasedFile, seen: Features) -> ActivatedImage:
        feature, targets = image.feature, image.objective.targets
        return ActivatedImage(
            data=file.data,
            pixels=file.pixels,
            quality=file.quality,
            budget_met=file.budget_met,
            passes=image.passes,
            feature=image.coded[0],
            aims=tuple(
                IndexOutcome(quantiser.encode(image.coded).tobytes(), float(far), float(near))
                for quantiser, far, near in zip(
                    self._quantisers,
                    np.linalg.norm(feature - targets, axis=1),
                    np.linalg.norm(seen - targets, axis=1),
                    strict=True,
                )
            ),
        )


def _unchanged(release: Release) -> ReleasedFile:
    """The file of an image whose budget leaves nothing to a distortion."""
    return Releases([release]).write(torch.zeros_like(release.original))[0]
