"""Are the presets `thorough`, `deep` and `fast` better than the paper's at the same PSNR?

Run, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/presets.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt

The photographs with even numbers were used to choose the settings; by default those with odd
numbers are measured. For every run: R@1 over the fixed list of edits with a 95 % interval
(bootstrap over photographs, 10,000 resamples, seed 0), the difference to the paper's preset at
`--scaling` likewise (paired), and R@1 by edit. Every index holds the references and all originals;
those that were activated with `--code_views` by the codes that they were activated for.
"""

import argparse
import hashlib
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import torch
from families import edited_features

from activeindex.activation import (
    PRESETS,
    Budget,
    Preset,
    ReleaseSettings,
    activate,
    read_pixels,
)
from activeindex.edits import FIXED_LIST
from activeindex.extractors import (
    Extractor,
    code_features,
    features_of_files,
    load_extractor,
    read_features,
)
from activeindex.images import Pixels, list_images, resize_square, to_tensor
from activeindex.indexing import Quantiser, add, search, set_nprobe, train_index
from activeindex.running.workers import Workers

Hits = npt.NDArray[np.bool_]
Quality = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """What a run found: hits ``(edits, photographs)``, PSNR and SSIM per photograph."""

    hits: Hits
    psnr: Quality
    ssim: Quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path", "fts_reference_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="runs that are kept here are not repeated")
    parser.add_argument("--model_name", default="sscd_disc_mixup", help="or a file")
    parser.add_argument("--resize_size", type=int, help="side of the squares that it takes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--half", choices=("chosen on", "reported"), default="reported")
    parser.add_argument("--idx_factory", default="IVF64,PQ8x8np")
    parser.add_argument("--presets", nargs="*", default=["deep"], help="besides the paper's")
    parser.add_argument("--psnr", type=float, nargs="*", default=[42.5], help="of these")
    parser.add_argument("--margin_width", type=float, help="of these, instead of their own")
    parser.add_argument("--iterations", type=int, help="likewise")
    parser.add_argument("--edited_views", type=int, help="likewise")
    parser.add_argument("--code_views", type=int, help="likewise")
    parser.add_argument("--scaling", type=float, nargs="*", default=[1.83], help="of the paper's")
    parser.add_argument("--as_published", action="store_true", help="the paper's too, unscaled")
    options = parser.parse_args()
    extractor = load_extractor(options.model_name, options.resize_size).to(options.device)
    measure(options, extractor, chosen(options))


def chosen(options: argparse.Namespace) -> dict[str, Preset | None]:
    paper = PRESETS["paper"]
    runs: dict[str, Preset | None] = {"passive": None}
    if options.as_published:
        runs["paper"] = paper
    for scaling in options.scaling:
        changed = paper.settings.replace(scaling=scaling)
        runs[f"paper, scaling {scaling}"] = Preset(changed, paper.release)
    names = ("margin_width", "iterations", "edited_views", "code_views")
    given = {name: getattr(options, name) for name in names}
    changes = {name: value for name, value in given.items() if value is not None}
    for preset, psnr in itertools.product(options.presets, options.psnr):
        said = [f"{preset}, {psnr} dB", *(f"{key} {value}" for key, value in changes.items())]
        release = ReleaseSettings(budget=Budget(psnr=psnr))
        runs[", ".join(said)] = Preset(PRESETS[preset].settings.replace(**changes), release)
    return runs


def measure(
    options: argparse.Namespace, extractor: Extractor, runs: dict[str, Preset | None]
) -> None:
    workers = Workers(1)
    training = read_features(options.fts_training_path, "fts_training_path").values
    references = read_features(options.fts_reference_path, "fts_reference_path").values
    paths = list_images(options.data_dir)
    originals = np.concatenate(list(features_of_files(extractor, paths, 64, workers)))
    first = 1 if options.half == "reported" else 0
    numbers = np.arange(first, len(paths), 2)[: options.images]
    pixels = [read_pixels(paths[number]) for number in numbers]
    trained = train_index(training, options.idx_factory, "L2")

    def hits(released: list[Pixels], code_views: int) -> Hits:
        stored = originals.copy()
        if code_views:
            squares = [resize_square(to_tensor(image), extractor.input_size) for image in pixels]
            stored[numbers] = code_features(extractor, torch.stack(squares), code_views)
        index = faiss.clone_index(trained)
        add(index, np.concatenate([references, stored]))
        set_nprobe(index, 1)
        queries = edited_features(released, extractor, workers)
        found = search(index, queries, 1).ids[:, 0].reshape(len(FIXED_LIST), len(numbers))
        return found == len(references) + numbers

    def run(preset: Preset | None) -> Run:
        if preset is None:
            return Run(hits(pixels, 0), np.empty(0), np.empty(0))
        result = activate(
            [to_tensor(image) for image in pixels],
            extractor,
            Quantiser(trained),
            preset.settings,
            release=preset.release,
            numbers=numbers.tolist(),
        )
        qualities = [image.quality for image in result.images]
        return Run(
            hits([image.pixels for image in result.images], preset.settings.code_views),
            np.array([quality.psnr for quality in qualities]),
            np.array([quality.ssim for quality in qualities]),
        )

    what = f"{extractor.identity}, {options.idx_factory}, {len(numbers)} photographs"
    print(f"{what} ({options.half})")
    print("| run | PSNR | least | SSIM | R@1 | 95 % | more than paper | 95 % | by edit |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    yardstick: Hits | None = None
    for name, preset in runs.items():
        key = hashlib.sha256(f"{what} {options.half} {preset}".encode()).hexdigest()
        kept = options.work and options.work / f"{key[:16]}.npz"
        if kept and kept.exists():
            done = Run(**np.load(kept))
        else:
            done = run(preset)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                np.savez(kept, **vars(done))
        print(row(name, done, yardstick), flush=True)
        if yardstick is None and name.startswith("paper, scaling"):
            yardstick = done.hits
    workers.close()


def row(name: str, run: Run, yardstick: Hits | None) -> str:
    seen = " | | "
    if len(run.psnr):
        seen = f"{run.psnr.mean():.2f} | {run.psnr.min():.2f} | {run.ssim.mean():.4f}"
    more = " | |"
    if yardstick is not None:
        gains = run.hits.mean(axis=0) - yardstick.mean(axis=0)
        more = f" {gains.mean():+.3f} | {interval(gains)} |"
    by_edit = " ".join(f"{share:.2f}" for share in run.hits.mean(axis=1))
    share = f" {run.hits.mean():.3f} | {interval(run.hits.mean(axis=0))} |"
    return f"| {name} | {seen} |{share}{more} {by_edit} |"


def interval(values: npt.NDArray[np.float64]) -> str:
    """Bootstrap over photographs, of the mean."""
    draws = np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return f"{low:.3f} to {high:.3f}"


if __name__ == "__main__":
    sys.exit(main())
