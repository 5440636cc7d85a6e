"""The named models: what each is, takes and gives, and where its weights come from."""

from dataclasses import dataclass

from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD
from activeindex.extractors.lite0.trunk import MEAN as LITE0_MEAN
from activeindex.extractors.lite0.trunk import STD as LITE0_STD

DEFAULT_EXTRACTOR = "lite0_copy"
"""Our own, which this package ships: docs/lite0_copy.md."""

SSCD = "sscd_disc_mixup"
"""SSCD trained on DISC21 with mixup (Pizzi et al., CVPR 2022): the paper's extractor."""

DEFAULT_INPUT_SIZE = 288
"""Side in pixels that images are resized to; the paper's (section 5)."""


@dataclass(frozen=True)
class ModelCard:
    """One named model: a standalone TorchScript file, or weights that this package ships.

    Attributes:
        name: What it is loaded by.
        trunk: The network.
        dimension: Values in a feature.
        address: Where its authors, or those of the paper, publish the weights; "" for our own.
        licence: Of the weights, as their authors state it.
        input_size: Side in pixels of the square images that it takes unless told otherwise.
        mean: Mean per channel that is subtracted from images in [0, 1].
        std: Standard deviation per channel that they are then divided by.
        packaged: Where this package ships the weights, relative to the room of extractors; such a
            model is never downloaded.
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

    @property
    def file_name(self) -> str:
        """The name of the weights in the user's cache: the last part of the address."""
        return self.address.rpartition("/")[2]


_SSCD_FILES = "https://dl.fbaipublicfiles.com/sscd-copy-detection"
_PAPER = "https://dl.fbaipublicfiles.com/active_indexing"

CARDS = {
    card.name: card
    for card in (
        # Our own; training/ makes it.
        ModelCard(
            DEFAULT_EXTRACTOR,
            "EfficientNet-Lite0",
            256,
            "",
            "Apache-2.0",
            input_size=224,
            mean=LITE0_MEAN,
            std=LITE0_STD,
            packaged="lite0/lite0_copy.safetensors",
        ),
        # Pizzi et al., A Self-Supervised Descriptor for Image Copy Detection, CVPR 2022.
        ModelCard(
            "sscd_disc_advanced",
            "ResNet-50",
            512,
            f"{_SSCD_FILES}/sscd_disc_advanced.torchscript.pt",
            "MIT",
        ),
        ModelCard(SSCD, "ResNet-50", 512, f"{_SSCD_FILES}/sscd_disc_mixup.torchscript.pt", "MIT"),
        ModelCard(
            "sscd_disc_large",
            "ResNeXt-101",
            1024,
            f"{_SSCD_FILES}/sscd_disc_large.torchscript.pt",
            "MIT",
        ),
        # Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021;
        # trained and evaluated at 224 px.
        ModelCard(
            "dino_r50",
            "ResNet-50",
            2048,
            f"{_PAPER}/dino_r50.torchscript.pt",
            "Apache-2.0",
            input_size=224,
        ),
        ModelCard(
            "dino_vits",
            "ViT-S/16",
            384,
            f"{_PAPER}/dino_vits16.torchscript.pt",
            "Apache-2.0",
            input_size=224,
        ),
        # Yokoo, Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction for
        # Accurate Copy Detection, 2021: first of the descriptor track of ISC21. 512 px; its
        # EfficientNetV2 was pretrained with a mean and deviation of one half.
        ModelCard(
            "isc_dt1",
            "EfficientNetV2",
            256,
            f"{_PAPER}/isc1.torchscript.pt",
            "MIT",
            input_size=512,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
    )
}
"""Our own model, and those that the released program offers, by name."""
