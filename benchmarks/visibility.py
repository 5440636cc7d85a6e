"""Visibility of an activation, and the recall that it buys.

Run, after the extraction of docs/reproduce.md:
    OMP_WAIT_POLICY=PASSIVE python benchmarks/visibility.py --data_dir disc/references_10k \
        --fts_training_path fts/train/fts.pt --fts_reference_path fts/references/fts.pt
and, for the pictures of docs/visibility.md:
    python benchmarks/visibility.py --crops docs/images

For every run, over photographs that no setting was chosen on: PSNR and SSIMULACRA2 (mean and
least), mean CIEDE2000 after a blur of 1.5 pixels in dark (luma below 50), mid and bright (from 170)
areas, that of the worst region, and R@1 over the fixed list of edits with the paired difference to
the first run and its 95 % interval. Photographs that are left unchanged count as they are found.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from collection import Collection, Hits, add_options, filled, hits
from PIL import Image
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.filters import gaussian

import activeindex as ai
from activeindex.activation.settings import PRESETS, Budget, Preset, ReleaseSettings
from activeindex.images.colours import worst_difference
from activeindex.images.levels import Pixels
from activeindex.images.ssimulacra2 import ssimulacra2
from activeindex.indexing.training import train_faiss

Figures = npt.NDArray[np.float64]

EARLIER: dict[str, Any] = {"mask": "jnd", "fine_blue": False}
CROPS = {"rocket": (150, 60), "astronaut": (300, 340), "coffee": (20, 30), "chelsea": (120, 60)}
"""Photographs of scikit-image, and where the top left corner of their crops lies."""


@dataclass(frozen=True)
class Run:
    """Results of a run; the figures have a row per photograph."""

    hits: Hits
    figures: Figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    if "--crops" in sys.argv:
        parser.add_argument("--crops", type=Path, required=True, help="folder of the pictures")
        draw(parser.parse_args().crops)
        return
    add_options(parser, "lite0_copy", images=100)
    parser.add_argument("--work", type=Path, help="runs that are kept here are not repeated")
    parser.add_argument("--preset", default="thorough", choices=PRESETS)
    parser.add_argument("--scores", type=float, nargs="*", default=[], help="other floors")
    measure(parser.parse_args())


def chosen(options: argparse.Namespace) -> dict[str, Preset]:
    now = PRESETS[options.preset]
    earlier = ReleaseSettings(budget=Budget(psnr=42.5))
    runs = {
        "as before": Preset(now.settings.replace(**EARLIER), earlier),
        "now": now,
    }
    for score in options.scores:
        bound = Budget(ssimulacra2=score)
        release = ReleaseSettings(budget=bound)
        runs[f"as before, {bound}"] = Preset(now.settings.replace(**EARLIER), release)
        runs[f"now, {bound}"] = Preset(now.settings, release)
    return runs


def measure(options: argparse.Namespace) -> None:
    collection = Collection.of(options)
    trained = train_faiss(collection.training, "IVF64,PQ8x8np", "L2", collection.copies)
    index = filled(trained, collection.database)
    print(f"{collection.extractor.identity}, {len(collection.numbers)} photographs")
    print("| run | PSNR | least | SSIMULACRA2 | least | dark | mid | bright | worst | R@1 | more |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    first: Hits | None = None
    for name, preset in chosen(options).items():
        kept = options.work and options.work / f"{name.replace(' ', '_')}.npz"
        if kept and kept.exists():
            done = Run(**np.load(kept))
        else:
            images = collection.activated([trained], preset).images
            released = [image.pixels for image in images]
            psnrs = [image.psnr for image in images]
            rows = zip(psnrs, map(visibility, collection.pixels, released), strict=True)
            figures = np.array([[psnr, *seen] for psnr, seen in rows])
            done = Run(hits(index, collection.edited(released), collection.ids), figures)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                np.savez(kept, **vars(done))
        first = done.hits if first is None else first
        print(row(name, done, first), flush=True)
    collection.workers.close()


def visibility(original: Pixels, changed: Pixels) -> list[float]:
    """SSIMULACRA2, colour differences in dark, mid and bright areas, and of the worst region."""
    here, there = (gaussian(each / 255.0, 1.5, channel_axis=2) for each in (original, changed))
    differences = deltaE_ciede2000(rgb2lab(here), rgb2lab(there))
    luma = here @ (76.245, 149.685, 29.07)
    areas = (luma < 50, (luma >= 50) & (luma < 170), luma >= 170)
    means = [differences[area].mean() if area.sum() > 500 else np.nan for area in areas]
    return [ssimulacra2(original, changed), *means, worst_difference(original, changed)]


def row(name: str, run: Run, first: Hits) -> str:
    psnr, score, *differences = run.figures.T
    seen = " | ".join(f"{np.nanmean(values):.2f}" for values in differences)
    psnr = psnr[np.isfinite(psnr)]
    gains = run.hits.mean(axis=0) - first.mean(axis=0)
    draws = np.random.default_rng(0).integers(len(gains), size=(10_000, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
    return (
        f"| {name} | {psnr.mean():.2f} | {psnr.min():.2f} | {score.mean():.1f} | {score.min():.1f} "
        f"| {seen} | {run.hits.mean():.3f} | {gains.mean():+.3f} ({low:.3f} to {high:.3f}) |"
    )


def draw(folder: Path) -> None:
    """Draw crops of an original, of its activation as before, and now: at 1:1 and four times."""
    for name, (top, left) in CROPS.items():
        original = getattr(data, name)()
        versions = [original]
        for changes in ({**EARLIER, "psnr": 42.5}, {}):
            versions.append(np.array(ai.activate(original, **changes)[0]))
        sheet = Image.new("RGB", (3 * 384 + 16, 128 + 384 + 8), "white")
        for place, pixels in enumerate(versions):
            crop = Image.fromarray(pixels[top : top + 128, left : left + 128])
            large = crop.crop((16, 16, 112, 112)).resize((384, 384), Image.Resampling.NEAREST)
            sheet.paste(crop, (place * 392 + 128, 0))
            sheet.paste(large, (place * 392, 136))
        sheet.save(folder / f"unseen_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
