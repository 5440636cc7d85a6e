"""File formats of released images."""

from dataclasses import dataclass
from typing import Literal, get_args

from activeindex.errors import InputError
from activeindex.runtime.fields import checked

FormatName = Literal["png", "jpeg", "webp"]

FORMATS: tuple[FormatName, ...] = get_args(FormatName)

DEFAULT_QUALITY = 90

_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


@dataclass(frozen=True)
class FileFormat:
    """A file format with its quality.

    Attributes:
        name: ``png``, ``jpeg`` or ``webp``.
        quality: 1 to 100 for the lossy ones, ``DEFAULT_QUALITY`` if it is left out; None for PNG.
    """

    name: FormatName = "png"
    quality: int | None = None

    def __post_init__(self) -> None:
        """Check both and fill in the quality.

        Raises:
            InputError: If there is no such format or quality.
        """
        if self.name not in FORMATS:
            raise InputError(f"format: expected one of {', '.join(FORMATS)}, found {self.name!r}")
        if self.lossless:
            if self.quality is not None:
                lossless = f"{self.name}, which is lossless"
                raise InputError(f"quality: expected none for {lossless}, found {self.quality}")
            return
        if self.quality is None:
            object.__setattr__(self, "quality", DEFAULT_QUALITY)
        rules = {"minimum": 1, "maximum": 100}
        object.__setattr__(self, "quality", checked(self.quality, "quality", int, rules))

    @property
    def lossless(self) -> bool:
        """True if decoding gives the encoded pixels back."""
        return self.name == "png"

    @property
    def has_alpha(self) -> bool:
        """True if the format can store opacity."""
        return self.name != "jpeg"

    @property
    def has_grey(self) -> bool:
        """True if the format can store one channel, with a profile of greys."""
        return self.name != "webp"

    @property
    def suffix(self) -> str:
        """File name suffix, with its dot."""
        return _SUFFIXES[self.name]

    def __str__(self) -> str:
        return self.name if self.quality is None else f"{self.name} at quality {self.quality}"


PNG = FileFormat("png")
