"""Activation of images in memory: from pictures to released files."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from activeindex.activation.loop import Step, optimise
from activeindex.activation.objective import Losses, Objective
from activeindex.activation.optimizers import moves_rows_alone
from activeindex.activation.records import record
from activeindex.activation.render import Original, ReleasedFile, Renderer
from activeindex.activation.results import ActivatedImage, ActivationResult, IndexOutcome
from activeindex.activation.settings import (
    AS_PNG,
    PAPER,
    PRESETS,
    ActivationSettings,
    Budget,
    Preset,
    ReleaseSettings,
)
from activeindex.edits.differentiable import image_generator
from activeindex.errors import InputError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.coerce import ExtractorLike, resolve_extractor
from activeindex.extractors.features import code_features, features_of
from activeindex.images.coerce import Images, NamedPicture, as_pictures
from activeindex.images.formats import FileFormat, FormatName
from activeindex.images.levels import Pixels, resized_in_strips, stack_levels, to_pixels
from activeindex.images.picture import Picture
from activeindex.indexing.coerce import IndexLike, resolve_quantisers
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.runtime.cores import default_workers
from activeindex.runtime.devices import own_stream
from activeindex.runtime.fields import checked
from activeindex.runtime.files import file_hash
from activeindex.runtime.parallel import (
    Mapper,
    ThreadMapper,
    iterate_in_thread,
    one_by_one,
    threads_kept,
)

_Item = TypeVar("_Item")

_TOGETHER_ON_GPU = 64
"""Images that go through the extractor and back together on an accelerator. On the CPU it is one:
four would take a sixth less time, but convolutions of another batch size may differ in the last
bit, and there results are promised not to depend on the batch."""

_AT_ONCE = 2
"""Groups in flight on an accelerator: the files of one are written, and the next is begun, while
another goes through the extractor."""

_THREADS = 8
"""Largest number of threads that encode and decode the pictures of a group."""

_MOST_PIXELS = 2**24
"""Pixels of the images that are activated together; each takes about 100 bytes of memory."""


def activate(
    images: Images,
    index: IndexLike | Sequence[IndexLike] | None = None,
    extractor: ExtractorLike = None,
    *,
    preset: str | Preset = "thorough",
    format: FormatName | None = None,
    quality: int | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    linf: int | None = None,
    ssimulacra2: float | None = None,
    measure: str | Sequence[str] = (),
    seed: int = 0,
    names: Sequence[str | None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    **settings: Any,
) -> ActivationResult:
    """Activate images, so that edited copies of them are found again in an index.

    Args:
        images: Paths, folders, Pillow images, arrays or tensors, one or any number of them; see
            :func:`~activeindex.images.coerce.iterate_pictures`.
        index: The trained index that will be searched: of :func:`activeindex.train_index`, of
            FAISS, or the file or folder of one; by default the one that this package ships. Several
            are a sequence: the images are activated for all of them.
        extractor: The extractor of the features that the index was trained on, its name or file; by
            default the one that this package ships.
        preset: ``thorough``, ``deep``, ``fast``, ``paper`` or ``harden``, or your own.
        format: ``png``, ``jpeg`` or ``webp``; the preset's by default, of which all have ``png``.
        quality: Of ``jpeg`` and ``webp``, 1 to 100.
        psnr: Smallest PSNR in dB that every file keeps. Without a bound, the preset's holds.
        ssim: Smallest SSIM that every file keeps.
        linf: Largest change of a pixel value that every file keeps, in 8-bit levels.
        ssimulacra2: Smallest SSIMULACRA2 that every file keeps.
        measure: ``ssimulacra2``, ``delta_e`` or both, measured of every file beside PSNR, SSIM and
            L-infinity.
        seed: Seeds the noise that the distortions start from.
        names: A name for each image, instead of its file's.
        on_step: Called for each image before each of its steps, by one thread at a time.
        settings: Fields of :class:`~activeindex.activation.settings.ActivationSettings` in place of
            the preset's, e.g. ``iterations=10`` or ``loss_f=my_loss``.

    Returns:
        The activated images in the same order; ``result.save(folder)`` writes them.

    Raises:
        InputError: If an argument is not what it should be, or an image is not one.
        NoTargetError: If the index has no target of the kind asked for.

    Example:
        >>> from activeindex import activate
        >>> images = np.random.default_rng(0).random((2, 48, 64, 3))
        >>> result = activate(images, preset="fast", iterations=1, psnr=40.0)
        >>> len(result), result[0].psnr >= 40.0, result[0].image.size
        (2, True, (64, 48))
    """
    activation = Activation.of(
        index,
        extractor,
        preset,
        seed,
        format=format,
        quality=quality,
        psnr=psnr,
        ssim=ssim,
        linf=linf,
        ssimulacra2=ssimulacra2,
        measure=measure,
        **settings,
    )
    read = as_pictures(images)
    if isinstance(names, str):
        raise InputError(f"names: expected one for each image, found the text {names!r}")
    if names is not None and len(names) != len(read):
        raise InputError(f"names: expected {len(read)}, one per image, found {len(names)}")
    named = [one.name for one in read] if names is None else names
    hashes = [_hash(one) for one in read]
    pictures = [one.picture for one in read]
    sources = [int(sha256, 16) for sha256 in hashes]
    done = _activated(pictures, range(len(pictures)), sources, activation, on_step)
    return ActivationResult(
        tuple(
            replace(
                image,
                name=name,
                record=record(activation, image, number, (name, sha256), None),
            )
            for number, (image, name, sha256) in enumerate(zip(done, named, hashes, strict=True))
        )
    )


def _hash(image: NamedPicture) -> str:
    """SHA-256 of an original: of its file, or of its 8-bit pixels and their shape."""
    if image.path is not None:
        return file_hash(image.path)
    picture, digest = image.picture, hashlib.sha256()
    for channels in (picture.layer, picture.alpha):
        if channels is not None:
            digest.update(str(channels.shape).encode() + channels.tobytes())
    return digest.hexdigest()


def activate_pictures(
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
    """Activate images of any sizes.

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
    activation = Activation(
        extractor, resolve_quantisers(quantiser, extractor), settings, release, seed
    )
    numbers = range(len(images)) if numbers is None else numbers
    if len(numbers) != len(images):
        raise InputError(f"numbers: expected {len(images)}, one per image, found {len(numbers)}")
    pictures = [_as_picture(image) for image in images]
    return ActivationResult(tuple(_activated(pictures, numbers, numbers, activation, on_step)))


def _activated(
    pictures: Sequence[Picture],
    numbers: Sequence[int],
    sources: Sequence[int],
    activation: "Activation",
    on_step: Callable[[Step], None] | None,
) -> Iterator[ActivatedImage]:
    lock = threading.Lock()

    def report(step: Step) -> None:
        if on_step is not None:
            with lock:
                on_step(step)

    numbered = zip(pictures, numbers, sources, strict=True)

    def groups() -> Iterator[Group]:
        for group in grouped(numbered, lambda one: one[0].area, activation.extractor.device):
            grouped_pictures, grouped_numbers, grouped_sources = zip(*group, strict=True)
            yield Group(grouped_pictures, grouped_numbers, report, grouped_sources)

    return chain.from_iterable(images for images, _ in activation.run(groups()))


def _as_picture(image: torch.Tensor | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    if image.dim() != 3 or image.shape[0] != 3:
        raise ShapeError("image", (3, "H", "W"), image.shape)
    return Picture(to_pixels(image))


def together_on(device: torch.device) -> int:
    """Number of images that are activated together on a device."""
    return 1 if device.type == "cpu" else _TOGETHER_ON_GPU


def grouped(
    items: Iterable[_Item], area: Callable[[_Item], int], device: torch.device
) -> Iterator[list[_Item]]:
    """Groups what is activated together on a device, in order.

    Args:
        items: Items that stand for images.
        area: Number of pixels of one.
        device: Device of the extractor.
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


_Timed = tuple[list["ActivatedImage"], float, float]
"""The images of a group, when they were begun and when they were done."""


@dataclass(frozen=True)
class Group:
    """Pictures that are activated together.

    Attributes:
        pictures: The pictures, no more than :func:`grouped` puts together.
        numbers: A number for each, which its steps have.
        on_step: Called for each image before each of its steps.
        sources: A number for each, which seeds its noise together with the activation's seed.
    """

    pictures: Sequence[Picture]
    numbers: Sequence[int]
    on_step: Callable[[Step], None]
    sources: Sequence[int]


@dataclass(frozen=True)
class Activation:
    """An activation of any number of images.

    Attributes:
        extractor: Maps images to features.
        quantisers: Quantisers of the indexes that the images are activated for.
        settings: What to optimise and how.
        release: The format of the released files, and the budget that each of them keeps.
        seed: Seeds the noise that the distortions start from.
    """

    extractor: Extractor
    quantisers: tuple[Quantiser, ...]
    settings: ActivationSettings
    release: ReleaseSettings
    seed: int = 0

    @classmethod
    def of(
        cls,
        index: IndexLike | Sequence[IndexLike] | None,
        extractor: ExtractorLike,
        preset: str | Preset,
        seed: int,
        *,
        format: FormatName | None = None,
        quality: int | None = None,
        psnr: float | None = None,
        ssim: float | None = None,
        linf: int | None = None,
        ssimulacra2: float | None = None,
        measure: str | Sequence[str] = (),
        **settings: Any,
    ) -> "Activation":
        """Make the activation that a user asks for; see :func:`activate`."""
        if isinstance(preset, str):
            if preset not in PRESETS:
                raise InputError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
            preset = PRESETS[preset]
        if not isinstance(preset, Preset):
            raise InputError(f"preset: expected a name or a Preset, found {preset!r}")
        known = [field.name for field in fields(ActivationSettings)]
        for name in settings:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(
                    f"activate: expected fields of ActivationSettings, found {name!r}{hint}"
                )
        budget, release = Budget(psnr, ssim, linf, ssimulacra2), preset.release
        if budget or (format, quality) != (None, None):
            form = release.format
            if (format, quality) != (None, None):
                form = FileFormat(format or form.name, quality)
            release = preset.released_as(form, budget)
        if measure:
            given = (measure,) if isinstance(measure, str) else tuple(measure)
            release = replace(release, measure=given)
        seed = checked(seed, "seed", int, {"minimum": 0})
        loaded = resolve_extractor(extractor)
        quantisers = resolve_quantisers(index, loaded)
        return cls(loaded, quantisers, preset.settings.replace(**settings), release, seed)

    def run(self, groups: Iterable[Group]) -> Iterator[tuple[list[ActivatedImage], float]]:
        """Yield the images of each group, in order, and the seconds that they took.

        On an accelerator a few groups are on their way at a time, and ``groups`` is asked for the
        next ones in another thread.
        """
        one_at_a_time = together_on(self.extractor.device) == 1
        done = map(self._timed, groups) if one_at_a_time else iterate_in_thread(self._ahead(groups))
        end_before = 0.0
        for images, start, end in done:
            yield images, end - max(start, end_before)
            end_before = end

    def _ahead(self, groups: Iterable[Group]) -> Generator[_Timed]:
        with threads_kept(), ThreadPoolExecutor(_AT_ONCE) as pool:
            begun: deque[Future[_Timed]] = deque()
            for group in groups:
                begun.append(pool.submit(self._timed, group))
                if len(begun) > _AT_ONCE:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

    def _timed(self, group: Group) -> _Timed:
        start = time.perf_counter()
        with torch.inference_mode(False), torch.enable_grad():  # Whatever the caller has set.
            if together_on(self.extractor.device) == 1:
                images = self._activated(group, one_by_one)
            else:
                with own_stream(self.extractor.device) as join:
                    each = ThreadMapper(min(_THREADS, default_workers()), join)
                    images = self._activated(group, each)
        return images, start, time.perf_counter()

    def _activated(self, group: Group, each: Mapper) -> list[ActivatedImage]:
        """Activate pictures of any sizes, from the originals to the files."""
        if not group.pictures:
            return []
        settings, extractor = self.settings, self.extractor
        originals = each(partial(Original.of, release=self.release), group.pictures)
        squares = self._squares([original.picture.pixels for original in originals])
        features = coded = features_of(extractor, squares)
        if settings.descriptor_views:
            coded = code_features(extractor, squares, settings.descriptor_views)
        # FAISS takes one feature after the other: what little it does for one lies between lines
        # of Python, which threads would wait for.
        objective = Objective.of(coded, self.quantisers, settings)
        done: dict[int, tuple[ReleasedFile, int]] = {}
        for rows in self._optimised_together(originals):
            numbers = [group.numbers[row] for row in rows]
            generators = [image_generator(self.seed, group.sources[row]) for row in rows]
            render = Renderer(
                [originals[row] for row in rows],
                generators,
                settings,
                extractor.input_size,
                extractor.device,
                each,
            )
            target = objective.rows(rows, extractor.device)
            report = partial(_report, group.on_step, numbers)
            passes = optimise(render, target, extractor, settings, generators, report)
            done |= {row: (file, passes) for row, file in zip(rows, render.write(), strict=True)}
        for row, original in enumerate(originals):
            if row not in done:
                done[row] = (original.released(original.picture.layer), 0)
        files = [done[row] for row in range(len(originals))]
        seen = features_of(extractor, self._squares([file.pixels for file, _ in files]))
        outcomes = [
            _outcomes(quantiser.encode(coded), each.target.numpy(), features, seen)
            for quantiser, each in zip(self.quantisers, objective.indexes, strict=True)
        ]
        return [
            ActivatedImage(
                **vars(file), passes=passes, aims=aims, feature=feature, released_feature=released
            )
            for (file, passes), aims, feature, released in zip(
                files, zip(*outcomes, strict=True), coded, seen, strict=True
            )
        ]

    def _optimised_together(self, originals: Sequence[Original]) -> list[list[int]]:
        """Rows of what can be optimised, each alone if the optimiser would mix them."""
        rows = [row for row, original in enumerate(originals) if original.attainable]
        if moves_rows_alone(self.settings.optimizer):
            return [rows] if rows else []
        return [[row] for row in rows]

    def _squares(self, images: Sequence[Pixels]) -> torch.Tensor:
        """Images ``(H, W, 3)`` at the extractor's size, ``(B, 3, S, S)``."""
        device, size = self.extractor.device, self.extractor.input_size
        levels = (stack_levels([image], device) for image in images)
        return torch.cat([resized_in_strips(each, (size, size)) for each in levels])


def _report(
    on_step: Callable[[Step], None], numbers: Sequence[int], iteration: int, losses: Losses
) -> None:
    columns = (losses.total, losses.feature, losses.image, losses.margin)
    for number, values in zip(numbers, torch.stack(columns, dim=1).tolist(), strict=True):
        on_step(Step(number, iteration, *values))


def _outcomes(
    codes: npt.NDArray[np.uint8], targets: Features, before: Features, after: Features
) -> list[IndexOutcome]:
    """Outcomes of images in one index; each row of an array is one image's."""
    far, near = (np.linalg.norm(features - targets, axis=1) for features in (before, after))
    return [
        IndexOutcome(code.tobytes(), float(first), float(last))
        for code, first, last in zip(codes, far, near, strict=True)
    ]
