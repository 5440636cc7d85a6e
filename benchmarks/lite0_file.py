"""Write EfficientNet-Lite0 with mean pooling, where lite0_copy starts, as TorchScript.

Run from the root of the repository:
    PYTHONPATH=. python benchmarks/lite0_file.py lite0.torchscript.pt

Commands take the file as `--model_path lite0.torchscript.pt --resize_size 224`. Its features are
those of benchmarks/extractors.py.
"""

import argparse
from pathlib import Path

import torch

from activeindex.extractors.base import IMAGENET_MEAN, IMAGENET_STD, Extractor
from extractors import lite0


class File(torch.nn.Module):
    """The extractor behind ImageNet's normalisation, which a TorchScript file is given."""

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.extractor(images * self.std + self.mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    size = 224
    traced = torch.jit.trace(File(lite0("mean", size)).eval(), torch.rand(2, 3, size, size))
    traced.save(str(options.out))


if __name__ == "__main__":
    main()
