"""Recall when index, files or extractor change after activation, and under attacks.

The part ``years`` searches in indexes that were trained after the pictures were released, with the
code of the original and with that of the released picture, as after ``activeindex store migrate``.

Run from the root of the repository, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. python benchmarks/robustness.py \
        --data_dir disc/references_10k --fts_training_path fts/train/fts.pt \
        --fts_reference_path fts/references/fts.pt

The first --images photographs with odd numbers (no setting was chosen on them) are activated with
--preset for IVF64,PQ8x8, which is trained on one half of the training features. They are searched
for under the fixed list of edits (R@1, nprobe 1) among the references and all originals. Each table
is printed when it is measured. --other is a folder of training/, references/ and originals/ that
benchmarks/extractors.py wrote for EfficientNet-Lite0; with it they are searched for through that
extractor, too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import torch
from collection import Collection, add_options, features_of_all, filled, hits

from activeindex.activation.activate import activate_pictures
from activeindex.activation.settings import PRESETS
from activeindex.edits.differentiable import fixed_views
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import features_of, match_norms
from activeindex.extractors.named import load_extractor
from activeindex.images.encoding import decode, encode
from activeindex.images.formats import FileFormat
from activeindex.images.levels import Pixels, resize_square, to_pixels, to_tensor
from activeindex.images.picture import Picture
from activeindex.images.quality import psnr
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.search import search
from activeindex.indexing.training import train_faiss
from extractors import lite0

FACTORY, OTHER = "IVF64,PQ8x8", "OPQ8_64,IVF64,PQ8x8"
Array = npt.NDArray[np.float32]


class Aimed(Quantiser):
    """A quantiser that sends every feature where an attacker wants it."""

    def __init__(self, index: faiss.Index, target: Array) -> None:
        self.target = np.zeros((1, index.d), np.float32)
        super().__init__(index)
        self.target = target

    def reconstruct(self, features: Array) -> Array:
        return self.target[: len(features)]


class Lab:
    """The collection, and the preset that its photographs are activated with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.collection, self.preset = Collection.of(options), PRESETS[options.preset]
        self.model_name = options.model_name
        self.extractor, self.pixels = self.collection.extractor, self.collection.pixels
        self.training, self.references = self.collection.training, self.collection.references

    def activated(self, *indexes: faiss.Index) -> list[Pixels]:
        result = self.collection.activated(indexes, self.preset)
        print(f"activated for {len(indexes)}: {result}", flush=True)
        return [image.pixels for image in result.images]

    def filled(self, trained: faiss.Index) -> faiss.Index:
        return filled(trained, self.collection.database)

    def features(self, images: Sequence[Pixels], extractor: Extractor | None = None) -> Array:
        extractor = extractor or self.extractor
        squares = [resize_square(to_tensor(image), extractor.input_size) for image in images]
        return features_of(extractor, torch.stack(squares))

    def found(self, index: faiss.Index, queries: Array) -> float:
        return float(hits(index, queries, self.collection.ids).mean())

    def edited(self, images: Sequence[Pixels], extractor: Extractor | None = None) -> Array:
        return self.collection.edited(images, extractor)


def jpeg75(pixels: Pixels) -> Pixels:
    return decode(encode(Picture(pixels), pixels, FileFormat("jpeg", 75)))


def half_size(pixels: Pixels) -> Pixels:
    image = to_tensor(pixels)[None]
    size = (pixels.shape[0] // 2, pixels.shape[1] // 2)
    return to_pixels(
        torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)[0]
    )


KINDS = ("IVF64,PQ8x8", "OPQ8_64,IVF64,PQ8x8", "PQ8x8", "PCA64,LSH")
CLUSTERINGS, VIEWS, DRAWS = 4, 12, 2000


def measured(lab: Lab, file: Path) -> dict[str, Array]:
    """Features of the photographs untouched, activated for ``FACTORY`` and hardened.

    Of each group the pictures' own ``name``, those of their fixed views ``name_views``, and those
    of their edited copies ``name_edited``. They are kept in a file for the next run.
    """
    kept = dict(np.load(file)) if file.is_file() else {}
    half = lab.training[: len(lab.training) // 2]
    for name in ("passive", "activated", "hardened"):
        if name in kept:
            continue
        preset = lab.preset if name == "activated" else PRESETS["harden"]
        images = lab.pixels
        if name != "passive":
            result = lab.collection.activated([train_faiss(half, FACTORY, "L2")], preset)
            print(f"{name}: {result}", flush=True)
            images = [image.pixels for image in result.images]
        squares = [resize_square(to_tensor(p), lab.extractor.input_size)[None] for p in images]
        kept[name] = features_of(lab.extractor, torch.cat(squares))
        views = [features_of(lab.extractor, torch.cat(fixed_views(s, VIEWS))) for s in squares]
        kept[f"{name}_views"] = np.stack(views)
        kept[f"{name}_edited"] = lab.edited(images)
        np.savez(file, **kept)
    return kept


def interval(gains: Array) -> str:
    """Mean of gains ``(clusterings, photographs)`` and the 95 % interval over both, resampled."""
    drawn = np.random.default_rng(0)
    rows, columns = (drawn.integers(0, size, (DRAWS, size)) for size in gains.shape)
    means = [gains[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def years(lab: Lab, file: Path) -> None:
    """Table of R@1 in indexes of later trainings, against passive with one code."""
    have, count = measured(lab, file), len(lab.pixels)

    def mean_of(name: str) -> Array:
        seen = np.concatenate([have[name][:, None], have[f"{name}_views"]], axis=1)
        return match_norms(seen.mean(axis=1), have[name])

    views = have["passive_views"], have["activated_views"]
    stored: dict[str, tuple[str, list[Array]]] = {
        "passive, own code": ("passive", [have["passive"]]),
        "passive, mean code": ("passive", [mean_of("passive")]),
        "passive, 2 codes": ("passive", [have["passive"], views[0][:, 0]]),
        "passive, 3 codes": ("passive", [have["passive"], *views[0][:, :2].swapaxes(0, 1)]),
        "activated, the original's code": ("activated", [have["passive"]]),
        "activated, the released picture's code": ("activated", [have["activated"]]),
        "activated, its mean code": ("activated", [mean_of("activated")]),
        "activated, 2 codes": ("activated", [have["activated"], views[1][:, 0]]),
        "activated, 3 codes": ("activated", [have["activated"], *views[1][:, :2].swapaxes(0, 1)]),
        "hardened, the original's code": ("hardened", [have["passive"]]),
        "hardened, the original's mean code": ("hardened", [mean_of("passive")]),
        "hardened, its own code": ("hardened", [have["hardened"]]),
    }
    others = np.delete(lab.collection.originals, lab.collection.numbers, axis=0)
    for kind in KINDS:
        found: dict[str, list[Array]] = {name: [] for name in stored}
        for number in range(CLUSTERINGS):
            rows = np.random.default_rng(number).permutation(len(lab.training))
            trained = train_faiss(lab.training[rows[: len(rows) // 2]], kind, "L2")
            for name, (group, codes) in stored.items():
                index = filled(trained, np.concatenate([lab.references, others, *codes]))
                nearest = search(index, have[f"{group}_edited"], 1).ids[:, 0]
                which = (nearest - (len(lab.references) + len(others))) % count
                which[nearest < len(lab.references) + len(others)] = -1
                hit = which.reshape(-1, count) == np.arange(count)
                found[name].append(hit.mean(axis=0))
        passive = np.array(found["passive, own code"])
        print(f"\n| {kind} | R@1 | against passive |\n|---|---|---|")
        for name, values in found.items():
            gains = np.array(values)
            print(f"| {name} | {gains.mean():.3f} | {interval(gains - passive)} |", flush=True)


def promise(lab: Lab, other_features: Path | None) -> None:
    """Tables of what is left."""
    half = len(lab.training) // 2
    shuffled = np.random.default_rng(1).permutation(half)
    indexes = {
        "the index that they were activated for": train_faiss(lab.training[:half], FACTORY, "L2"),
        "trained on the same features, shuffled": train_faiss(
            lab.training[:half][shuffled], FACTORY, "L2"
        ),
        "trained on twice as many features": train_faiss(lab.training, FACTORY, "L2"),
        "trained on the other half": train_faiss(lab.training[half:], FACTORY, "L2"),
        f"`{OTHER}`": train_faiss(lab.training[:half], OTHER, "L2"),
    }
    first, *_, other = indexes.values()
    passive = lab.edited(lab.pixels)
    one, both = lab.activated(first), lab.activated(first, other)
    for_one, for_both = lab.edited(one), lab.edited(both)
    print(
        "\n| index that is searched | passive | activated | activated for two |\n|---|---|---|---|"
    )
    for name, index in indexes.items():
        searched = lab.filled(index)
        values = [lab.found(searched, queries) for queries in (passive, for_one, for_both)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)

    searched = lab.filled(first)
    print("\n| before the copier's edit | passive | activated |\n|---|---|---|")
    for name, change in (("nothing", None), ("JPEG 75", jpeg75), ("half size", half_size)):
        queries = (passive, for_one)
        if change is not None:
            queries = tuple(lab.edited([change(p) for p in images]) for images in (lab.pixels, one))
        values = [lab.found(searched, each) for each in queries]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)

    print("\n| extractor that is searched through | passive | activated |\n|---|---|---|")
    smaller = load_extractor(lab.model_name, lab.extractor.input_size * 6 // 7)
    theirs = features_of_all(lab.collection.paths, smaller, lab.collection.workers)
    searched = filled(first, np.concatenate([lab.references, theirs]))
    changed = [(f"at {smaller.input_size} px", smaller, searched)]
    if other_features is not None:
        training, references, originals = (
            read_features(other_features / name / "fts.npy", name).values
            for name in ("training", "references", "originals")
        )
        own = train_faiss(training, FACTORY, "L2")
        index = filled(own, np.concatenate([references, originals]))
        changed.append(("EfficientNet-Lite0, with an index of its own", lite0("mean"), index))
    for name, extractor, index in changed:
        values = [lab.found(index, lab.edited(images, extractor)) for images in (lab.pixels, one)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)


def dark_side(lab: Lab) -> None:
    """Tables of collisions and disappearances, and of what gives them away."""
    index = train_faiss(lab.training, FACTORY, "L2")
    searched, quantiser = lab.filled(index), Quantiser(index)
    own = lab.features(lab.pixels)
    victims = np.random.default_rng(0).permutation(len(lab.references))[: len(lab.pixels)]
    goals = quantiser.reconstruct(lab.references[victims])
    second = load_extractor("sscd_disc_mixup", 128)
    groups = {"untouched": lab.pixels, "activated": lab.activated(index)}
    for name, scaling, targets in (
        ("aimed at another's code", 3.0, goals),
        ("aimed at another's code, twice the distortion", 6.0, goals),
        ("driven away from its own feature", 3.0, -own),
    ):
        settings = PRESETS["paper"].settings.replace(
            scaling=scaling, iterations=20 if scaling > 3 else 10
        )
        groups[name] = [
            activate_pictures([to_tensor(p)], lab.extractor, Aimed(index, t[None]), settings)
            .images[0]
            .pixels
            for p, t in zip(lab.pixels, targets, strict=True)
        ]
    print("\n| image | PSNR | first hit is its own | first hit is the other | under edits, own |")
    print("|---|---|---|---|---|")
    for name, images in groups.items():
        ids = search(searched, lab.features(images), 1).ids[:, 0]
        left = lab.found(searched, lab.edited(images))
        levels = np.mean([psnr(p, q) for p, q in zip(lab.pixels, images, strict=True)])
        print(
            f"| {name} | {levels:.1f} | {np.mean(ids == lab.collection.ids):.2f} | "
            f"{np.mean(ids == victims):.2f} | {left:.2f} |",
            flush=True,
        )
    print("\n| image | moves under JPEG 75 | at half size | second extractor: cosine to own |")
    print("|---|---|---|---|")
    theirs = lab.features(lab.pixels, second)
    for name, images in groups.items():
        here = lab.features(images)
        moves = [
            np.median(np.linalg.norm(lab.features([change(p) for p in images]) - here, axis=1))
            for change in (jpeg75, half_size)
        ]
        there = lab.features(images, second)
        cosine = (there * theirs).sum(1) / np.linalg.norm(there, axis=1)
        cosine /= np.linalg.norm(theirs, axis=1)
        print(f"| {name} | {moves[0]:.3f} | {moves[1]:.3f} | {np.median(cosine):.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "lite0_copy", images=40)
    parser.add_argument("--preset", default="thorough", choices=PRESETS)
    parser.add_argument("--other", type=Path, help="features of EfficientNet-Lite0")
    parser.add_argument("--features", type=Path, default=Path("years.npz"), help="kept by `years`")
    parser.add_argument("--parts", nargs="*", default=("promise", "dark_side", "years"))
    options = parser.parse_args()
    lab = Lab(options)
    if "promise" in options.parts:
        promise(lab, options.other)
    if "dark_side" in options.parts:
        dark_side(lab)
    if "years" in options.parts:
        years(lab, options.features)
    lab.collection.workers.close()


if __name__ == "__main__":
    sys.exit(main())
