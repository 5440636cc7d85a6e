"""What activation gives back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from activeindex.images.levels import Pixels
from activeindex.images.quality import Quality
from activeindex.runtime.progress import counted


@dataclass(frozen=True)
class IndexOutcome:
    """What an image is moved towards in one index.

    Attributes:
        code: The code that the index stores, of :attr:`ActivatedImage.feature`.
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
        feature: ``(d,)``, what the indexes store the code of: the *original*'s feature, or the mean
            over views of it that the settings ask for.
    """

    data: bytes
    pixels: Pixels
    quality: Quality
    budget_met: bool
    passes: int
    aims: tuple[IndexOutcome, ...]
    feature: npt.NDArray[np.float32]

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
            f"{counted(len(self), 'image')}: PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, "
            f"L-inf {self.linf:.1f}, distance to target {self.distance_before:.3f} -> "
            f"{self.distance_after:.3f}"
        )
