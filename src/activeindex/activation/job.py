"""The job: from an image file to its released file.

Read, activate, write, record: ``activate``, ``main`` and the workers of both, in this process,
beside it or elsewhere, all run :class:`ReleaseJob`. The passive arm of an experiment is the same
job without an activation.
"""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from activeindex.activation.activate import Activation, Group, grouped
from activeindex.activation.loop import Step
from activeindex.activation.records import record, record_json, unchanged_because
from activeindex.activation.render import Original
from activeindex.activation.results import ActivatedImage
from activeindex.activation.settings import ReleaseSettings
from activeindex.errors import UnencodableError, UnreadableImageError, reason_of
from activeindex.images.encoding import check_encodable, write_bytes
from activeindex.images.levels import Pixels
from activeindex.images.limits import max_pixels
from activeindex.images.picture import Picture, read_picture
from activeindex.runtime.files import file_hash
from activeindex.runtime.pool import LocalEngine

_WINDOW = 64
"""Images that a running mean is over."""


@dataclass(frozen=True)
class Item:
    """An image to release.

    Attributes:
        number: Its number, which its steps and its record have.
        source: Its file.
        name: The name of the original in the record.
        output: The name of the released file in the output folder; None if it is not kept.
    """

    number: int
    source: Path
    name: str
    output: str | None


@dataclass(frozen=True)
class Released:
    """An image that has been released.

    Attributes:
        item: As given.
        pixels: The pixels of the released file ``(H, W, 3)``; None where the job drops them.
        image: The activated image without its pixels and bytes; None in a passive arm.
        record: The line of ``activation.jsonl``; empty in a passive arm.
        steps: The steps of its optimisation.
        warnings: Warnings for the user, a line each.
        seconds: How long reading, activating and saving it took; for images of one group, its
            share.
    """

    item: Item
    pixels: Pixels | None
    image: ActivatedImage | None
    record: bytes
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class ReleaseJob:
    """Releases images; see :class:`~activeindex.runtime.pool.Job`.

    Attributes:
        activation: How images are activated; None for a passive arm.
        release: The format of the files.
        output_dir: Where they go; absolute, as workers may have been started in another folder.
        noise_by_number: Whether an image's noise is seeded by its number, as in the published
            program, rather than by the SHA-256 of its file.
        keep_grey: Whether grey images stay grey, which those of the published program do not.
        keep_pixels: Whether the results have the released pixels.
        max_pixels: The most pixels that an image file may have.
    """

    activation: Activation | None
    release: ReleaseSettings
    output_dir: Path
    noise_by_number: bool = False
    keep_grey: bool = True
    keep_pixels: bool = False
    max_pixels: int = field(default_factory=max_pixels)

    def __call__(
        self, items: Sequence[Item], workers: LocalEngine
    ) -> Iterator[Released | UnreadableImageError]:
        """Yield each image, or the error that says why it cannot be read."""
        groups = self._read(items, workers)
        if self.activation is None:
            for group in groups:
                yield from self._released(group, [None] * len(group.items), 0.0)
            return
        begun: deque[_ReadGroup] = deque()

        def requests() -> Iterator[Group]:
            for group in groups:
                begun.append(group)
                numbers = [item.number for item in group.items]
                sources = numbers if self.noise_by_number else [int(h, 16) for h in group.hashes]
                yield Group(group.pictures, numbers, group.steps.append, sources)

        for images, seconds in self.activation.run(requests()):
            yield from self._released(begun.popleft(), images, seconds)

    def _read(self, items: Sequence[Item], workers: LocalEngine) -> Iterator["_ReadGroup"]:
        """Read images, and yield those that are activated together."""
        cpu = torch.device("cpu")
        device = cpu if self.activation is None else self.activation.extractor.device
        hashed = self.activation is not None
        reading = partial(_try_read, hashed=hashed, most=self.max_pixels)
        read = workers.map(reading, [item.source for item in items])
        start = time.perf_counter()
        for pairs in grouped(zip(items, read, strict=True), _area, device):
            group = _ReadGroup()
            for item, found in pairs:
                if isinstance(found, UnreadableImageError):
                    group.results.append(found)
                else:
                    group.results.append(None)
                    group.items.append(item)
                    group.hashes.append(found[1])
                    group.pictures.append(self._checked(item, found[0]))
            group.seconds = time.perf_counter() - start
            yield group
            start = time.perf_counter()

    def _checked(self, item: Item, picture: Picture) -> Picture:
        try:
            check_encodable(picture, self.release.format)
        except UnencodableError as error:
            raise UnencodableError(f"{item.source}: {error}") from None
        if not self.keep_grey:
            if picture.one_channel:  # A profile of greys fits no colours.
                picture = picture.in_srgb()
            return replace(picture, grey=False, one_channel=False)
        return picture

    def _released(
        self, group: "_ReadGroup", images: Sequence[ActivatedImage | None], seconds: float
    ) -> Iterator[Released | UnreadableImageError]:
        """Write and record the images of a group, in the order of their items."""
        released = self._written(group, images, seconds)
        for error in group.results:
            yield next(released) if error is None else error

    def _written(
        self, group: "_ReadGroup", images: Sequence[ActivatedImage | None], seconds: float
    ) -> Iterator[Released]:
        count = len(group.items)
        for item, picture, sha256, image in zip(
            group.items, group.pictures, group.hashes, images, strict=True
        ):
            start = time.perf_counter()
            line, warnings, bare = b"", tuple[str, ...](), None
            if self.activation is None or image is None:
                data, pixels = self._encoded(picture, item)
            else:
                data, pixels = image.data, image.pixels
                source = (item.name, sha256)
                found = record(self.activation, image, item.number, source, item.output)
                line = record_json(found).encode() + b"\n"
                warnings = tuple(_warnings(item.source, picture, image, self.release))
                bare = replace(image, data=b"", pixels=np.empty((0, 0, 3), np.uint8))
            if item.output is not None:
                write_bytes(self.output_dir / item.output, data)
            spent = {"read": group.seconds / count}
            if self.activation is not None:
                spent["activate"] = seconds / count
            spent["save"] = time.perf_counter() - start
            steps = tuple(step for step in group.steps if step.number == item.number)
            kept = pixels if self.keep_pixels else None
            yield Released(item, kept, bare, line, steps, warnings, spent)

    def _encoded(self, picture: Picture, item: Item) -> tuple[bytes, Pixels]:
        """The file of a picture that is not activated, and its pixels."""
        original = Original.of(picture, ReleaseSettings(self.release.format))
        if self.release.format.lossless and item.output is None:
            return b"", original.picture.pixels
        data = original.encoded(original.picture.layer)
        return data, original.read(original.picture.layer, data)


class LiveFigures:
    """Running loss, PSNR and images per second, shown beside a progress bar.

    All are means over the last 64 images; the loss is the last one that each had.
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._psnrs: deque[float] = deque(maxlen=_WINDOW)
        self._seconds: deque[float] = deque(maxlen=_WINDOW)

    def of(self, released: Released) -> dict[str, float]:
        """Take in one more image, and return the figures."""
        if released.image is None:
            return {}
        self._psnrs.append(released.image.quality.psnr)
        self._seconds.append(max(released.seconds["activate"], 1e-9))
        figures = {
            "psnr": statistics.fmean(self._psnrs),
            "img/s": 1 / statistics.fmean(self._seconds),
        }
        if released.steps:
            self._losses.append(released.steps[-1].loss)
        return {"loss": statistics.fmean(self._losses), **figures} if self._losses else figures


@dataclass
class _ReadGroup:
    """Images that are activated together.

    Attributes:
        results: The error of each file that cannot be read, None for the others, in their order.
        items: Of the others, as the next two.
        pictures: What they hold.
        hashes: SHA-256 of their files.
        steps: Of their optimisation.
        seconds: That reading took.
    """

    results: list[UnreadableImageError | None] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0


_Read = tuple[Picture, str]


def _try_read(path: Path, *, hashed: bool, most: int) -> _Read | UnreadableImageError:
    """Read a file in a worker, where an error must not stop the other images."""
    try:
        return read_picture(path, most), file_hash(path) if hashed else ""
    except UnreadableImageError as error:
        return error
    except OSError as error:  # Removed since.
        return UnreadableImageError(f"{path}: the image cannot be read ({reason_of(error)})")


def _area(pair: tuple[Item, _Read | UnreadableImageError]) -> int:
    return 0 if isinstance(pair[1], UnreadableImageError) else pair[1][0].area


def _warnings(
    source: Path, picture: Picture, image: ActivatedImage, release: ReleaseSettings
) -> Iterator[str]:
    if picture.has_transparency and not release.format.has_alpha:
        yield f"{source}: composed on white, since {release.format.name} holds no alpha"
    if not image.budget_met:
        yield (
            f"{source}: not activated, since {release.format} alone breaks the budget "
            f"{release.budget} ({image.quality})"
        )
    if why := unchanged_because(release, image):
        yield f"{source}: left as it was, since {why}; its copies are found as those of any picture"
