"""Programs saved by ``torch.export.save`` (``.pt2``), read as data.

``torch.export.load`` is not used: in PyTorch 2.13 it unpickles the sample inputs and flagged
weights without restriction, evaluates the symbolic sizes as Python expressions, compiles node
names of the file as source, and loads AOTInductor libraries, so a file can run anything. The
format itself is plain, a zip archive of raw tensors and a JSON list of ATen calls, and is read
here in that plain part only; a file that needs more is refused. As a gain, the program runs
wherever its weights are moved.
"""

from pathlib import Path

from activeindex.errors import InputError, reason_of
from activeindex.extractors.adapt import NetworkExtractor
from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, ExtractorIdentity
from activeindex.extractors.exported.archive import read_archive
from activeindex.extractors.exported.program import ExportedProgram
from activeindex.extractors.pooling import Pooling


def load_exported(
    path: Path,
    identity: ExtractorIdentity,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    pooling: Pooling | None = None,
) -> NetworkExtractor:
    """Loads a ``.pt2`` file with a program that takes normalised images.

    Raises:
        InputError: If the file is no such program, does anything but compute, was exported for
            other images, or does not map an image to one vector.
    """
    archive = read_archive(path)
    try:
        network = ExportedProgram(path, archive)
        for side in (network.height, network.width):
            if side not in (None, identity.input_size):
                raise InputError(
                    f"{path}: the program was exported for images of {network.height}x"
                    f"{network.width}, found resize_size {identity.input_size}"
                )
        return NetworkExtractor(network, identity, mean, std, pooling)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # How a program fails that is broken or made to do harm, when it is read or first run.
        raise InputError(
            f"{path}: expected a torch.export program, {reason_of(error)} is amiss"
        ) from None


__all__ = ["load_exported"]
