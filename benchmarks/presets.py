"""Recall of the presets `thorough`, `deep` and `fast` beside the paper's, at one PSNR.

Run, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/presets.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt

Settings were chosen on the photographs with even numbers; by default those with odd numbers are
measured. For every run: R@1 over the fixed list of edits with a 95 % interval (bootstrap over
photographs, 10,000 resamples, seed 0), the difference to the paper's preset at `--scaling` likewise
(paired), and R@1 by edit. Every index holds the references and all originals; with
`--descriptor_views` it holds activated originals by the codes that they were activated for.
"""

import argparse
import hashlib
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from collection import Collection, Hits, add_options, filled, hits

from activeindex.activation.settings import PRESETS, Budget, Preset, ReleaseSettings
from activeindex.extractors.features import code_features
from activeindex.images.levels import Pixels, resize_square, to_tensor
from activeindex.indexing.training import train_faiss

Quality = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """Results of a run: hits ``(edits, photographs)``, PSNR and SSIM per photograph."""

    hits: Hits
    psnr: Quality
    ssim: Quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, "sscd_disc_mixup", images=100)
    parser.add_argument("--work", type=Path, help="runs that are kept here are not repeated")
    parser.add_argument("--idx_factory", default="IVF64,PQ8x8np")
    parser.add_argument("--presets", nargs="*", default=["deep"], help="besides the paper's")
    parser.add_argument("--psnr", type=float, nargs="*", default=[42.5], help="of these")
    parser.add_argument("--margin_width", type=float, help="of these, instead of their own")
    parser.add_argument("--iterations", type=int, help="likewise")
    parser.add_argument("--edited_views", type=int, help="likewise")
    parser.add_argument("--descriptor_views", type=int, help="likewise")
    parser.add_argument("--scaling", type=float, nargs="*", default=[1.83], help="of the paper's")
    parser.add_argument("--as_published", action="store_true", help="the paper's too, unscaled")
    options = parser.parse_args()
    measure(options, chosen(options))


def chosen(options: argparse.Namespace) -> dict[str, Preset | None]:
    paper = PRESETS["paper"]
    runs: dict[str, Preset | None] = {"passive": None}
    if options.as_published:
        runs["paper"] = paper
    for scaling in options.scaling:
        changed = paper.settings.replace(scaling=scaling)
        runs[f"paper, scaling {scaling}"] = Preset(changed, paper.release)
    names = ("margin_width", "iterations", "edited_views", "descriptor_views")
    given = {name: getattr(options, name) for name in names}
    changes = {name: value for name, value in given.items() if value is not None}
    for preset, psnr in itertools.product(options.presets, options.psnr):
        said = [f"{preset}, {psnr} dB", *(f"{key} {value}" for key, value in changes.items())]
        release = ReleaseSettings(budget=Budget(psnr=psnr))
        runs[", ".join(said)] = Preset(PRESETS[preset].settings.replace(**changes), release)
    return runs


def measure(options: argparse.Namespace, runs: dict[str, Preset | None]) -> None:
    collection = Collection.of(options)
    trained = train_faiss(collection.training, options.idx_factory, "L2", collection.copies)

    def found(released: list[Pixels], descriptor_views: int) -> Hits:
        stored = collection.database
        if descriptor_views:
            extractor = collection.extractor
            squares = [resize_square(to_tensor(p), extractor.input_size) for p in collection.pixels]
            stored[collection.ids] = code_features(
                extractor, torch.stack(squares), descriptor_views
            )
        queries = collection.edited(released)
        return hits(filled(trained, stored), queries, collection.ids)

    def run(preset: Preset | None) -> Run:
        if preset is None:
            return Run(found(collection.pixels, 0), np.empty(0), np.empty(0))
        result = collection.activated([trained], preset)
        qualities = [image.quality for image in result.images]
        return Run(
            found([image.pixels for image in result.images], preset.settings.descriptor_views),
            np.array([quality.psnr for quality in qualities]),
            np.array([quality.ssim for quality in qualities]),
        )

    count = f"{len(collection.numbers)} photographs"
    what = f"{collection.extractor.identity}, {options.idx_factory}, {count}"
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
    collection.workers.close()


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
