"""Draw the picture of the README: original, activated, difference, a copy that is found.

Run from the root of the repository, after `activeindex demo`:
    python benchmarks/readme_picture.py demo_output docs/images/activation.webp

Reads the demo's photographs and results, and computes only the edited copy. The photograph is
scikit-image's "coffee" (CC0, by Rachel Michetti).
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from activeindex.edits.edited import edit_generator
from activeindex.edits.named import as_edit
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images

_WIDTH = 300
_CAPTION = 46
_GAIN = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="the demo's output folder")
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--photograph", default="coffee")
    parser.add_argument("--edit", default="meme_format")
    options = parser.parse_args()

    names = [path.stem for path in list_images(options.demo / "photographs")]
    number = names.index(options.photograph)
    original = read_rgb(options.demo / "photographs" / f"{options.photograph}.png")
    activated = read_rgb(options.demo / "released" / f"{options.photograph}.png")
    change = np.asarray(activated).astype(int) - np.asarray(original)
    difference = Image.fromarray(np.clip(128 + _GAIN * change, 0, 255).astype(np.uint8))
    copy = as_edit(options.edit)(activated, edit_generator(0, number)).image

    csv.field_size_limit(sys.maxsize)
    ranks = {
        arm: _rank(options.demo / arm / "retr_df.csv", len(names), number, options.edit)
        for arm in ("passive", "active")
    }
    panels = (
        (original, "original", ""),
        (activated, "activated", "what is released"),
        (difference, f"difference, {_GAIN}x", ""),
        (
            copy,
            "an edited copy",
            f"{_found(ranks['active'])}; untouched: {_found(ranks['passive'])}",
        ),
    )
    height = max(round(_WIDTH * image.height / image.width) for image, _, _ in panels)
    sheet = Image.new("RGB", (len(panels) * (_WIDTH + 8) - 8, height + _CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for place, (image, title, note) in enumerate(panels):
        left, size = place * (_WIDTH + 8), (_WIDTH, round(_WIDTH * image.height / image.width))
        sheet.paste(image.resize(size, Image.Resampling.LANCZOS), (left, height - size[1]))
        draw.text((left, height + 4), title, "black", font)
        draw.text((left, height + 24), note, "dimgrey", ImageFont.load_default(14))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, quality=85)


def _rank(path: Path, images: int, number: int, edit: str) -> int | None:
    """Rank of the original among the neighbours of a query, from 1; None if it is not there."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["attack"] == edit]
    row = sorted(rows, key=lambda row: int(row["image_index"]))[number]
    assert len(rows) == images
    return int(row["rank"]) + 1 if float(row["r@100"]) else None


def _found(rank: int | None) -> str:
    return "not found" if rank is None else f"found, rank {rank}"


if __name__ == "__main__":
    main()
