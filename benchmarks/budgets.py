"""Budgets in every format, measured on the written files and their features.

Run from the root of the repository, after benchmarks/extractors.py has extracted into extractors/:
    OMP_WAIT_POLICY=PASSIVE PYTHONPATH=. python benchmarks/budgets.py \
        --data_dir disc/references_10k \
        --fts_training_path extractors/EfficientNet-Lite0_mean/training/fts.npy

Activates the first --images images through EfficientNet-Lite0 for IVF64,PQ8x8 under each budget,
writes them, reads them again from disk and compares them with the originals. The table grows row by
row; rows that it already has are not measured again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from activeindex.activation.folder import activate_folder
from activeindex.activation.records import read_records
from activeindex.activation.settings import PAPER, Budget, Preset, ReleaseSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.images.decoding import read_pixels
from activeindex.images.folder import list_images
from activeindex.images.formats import FileFormat
from activeindex.images.quality import measure_quality
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from extractors import lite0

PNG, JPEG95, JPEG90, WEBP95 = (
    FileFormat(name, quality)
    for name, quality in (("png", None), ("jpeg", 95), ("jpeg", 90), ("webp", 95))
)
CASES = (
    *((PNG, Budget()), (PNG, Budget(psnr=40)), (PNG, Budget(psnr=42)), (PNG, Budget(psnr=45))),
    *((PNG, Budget(psnr=48)), (PNG, Budget(ssim=0.98)), (PNG, Budget(linf=6))),
    *((JPEG95, Budget()), (JPEG95, Budget(psnr=38)), (JPEG95, Budget(psnr=40))),
    *((JPEG90, Budget()), (JPEG90, Budget(psnr=36)), (JPEG90, Budget(psnr=40))),
    *((WEBP95, Budget()), (WEBP95, Budget(psnr=36))),
)
HEAD = """\
| file | budget | kept | PSNR min / mean | SSIM min | L∞ max | distance to target | kB |
|---|---|---|---|---|---|---|---|
"""


def row(
    form: FileFormat, budget: Budget, folder: Path, extractor: Extractor, quantiser: Quantiser
) -> str:
    release = ReleaseSettings(form, budget)
    with tempfile.TemporaryDirectory() as out:
        done = activate_folder(folder, out, quantiser, extractor, preset=Preset(PAPER, release))
        records = list(read_records(done.records))
        files = [Path(out) / record["output"] for record in records]
        quality = [
            measure_quality(read_pixels(folder / record["name"]), read_pixels(file))
            for record, file in zip(records, files, strict=True)
        ]
        kilobytes = np.mean([file.stat().st_size for file in files]) / 1000
    before, after = (
        np.mean([record[f"distance_{when}"] for record in records]) for when in ("before", "after")
    )
    psnr = [each.psnr for each in quality]
    kept = sum(record["budget_met"] for record in records)
    return (
        f"| {form} | {budget or 'none'} | {kept} of {len(records)} | {min(psnr):.2f} / "
        f"{np.mean(psnr):.2f} | {min(each.ssim for each in quality):.3f} | "
        f"{max(each.linf for each in quality)} | {before:.3f} → {after:.3f} | {kilobytes:.0f} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_dir", "fts_training_path"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--table", type=Path, default=Path("budgets.md"))
    options = parser.parse_args()
    training = read_features(options.fts_training_path, "fts_training_path").values
    extractor = lite0("mean")
    quantiser = Quantiser(train_faiss(training, "IVF64,PQ8x8", "L2"))
    table = options.table.read_text() if options.table.exists() else HEAD
    with tempfile.TemporaryDirectory() as few:
        for path in list_images(options.data_dir)[: options.images]:
            (Path(few) / path.name).symlink_to(path.resolve())
        for form, budget in CASES:
            if f"| {form} | {budget or 'none'} |" in table:
                continue
            table += row(form, budget, Path(few), extractor, quantiser)
            options.table.write_text(table)
            print(table.splitlines()[-1], flush=True)


if __name__ == "__main__":
    sys.exit(main())
