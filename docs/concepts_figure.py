"""Draw the figure of docs/concepts.md: features of a photograph and its copies among Voronoi cells.

Run from the root of the repository (a minute on two cores):
    python docs/concepts_figure.py

Photographs are the demo's, features those of the extractor and the index of the package. Writes
docs/_static/concepts_data.js, which docs/_static/concepts.js draws, and docs/images/cells.svg.
"""

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from PIL import Image

import activeindex as ai
from activeindex.demo.photographs import PHOTOGRAPHS
from activeindex.edits.edited import edit_generator
from activeindex.edits.lists import FIXED_LIST
from activeindex.images.decoding import read_rgb
from activeindex.indexing.packaged import packaged_index

DOCS = Path(__file__).parent
SHOWN = ("chelsea", "coffee", "rocket")
STEPS = 4
"""Steps from the original to the activated picture."""

Box = tuple[float, float, float]
"""Left and top of the square of the plane that is shown, and its side."""
Vectors = npt.NDArray[np.float64]
Polygon = list[tuple[float, float]]


def main() -> None:
    """Compute and write both files."""
    found = {name: scene(PHOTOGRAPHS / f"{name}.jpg") for name in SHOWN}
    text = json.dumps(found, separators=(",", ":"))
    note = "// Made by docs/concepts_figure.py.\n"
    (DOCS / "_static" / "concepts_data.js").write_text(f"{note}window.CELLS = {text};\n")
    (DOCS / "images" / "cells.svg").write_text(drawing(found["chelsea"]))


def scene(path: Path) -> dict[str, Any]:
    """Features of a photograph and its copies while it is activated, in one plane.

    The plane goes through the features of the original and of the activated picture, and along the
    direction in which copies move most. Copies beside it are projected; their cells are the true
    ones, in all dimensions.
    """
    original = read_rgb(path)
    activated = ai.activate(original)[0].image.convert("RGB")
    pictures = [blended(original, activated, step / STEPS) for step in range(STEPS + 1)]
    copies = [
        edit(picture, edit_generator(0, number)).image
        for picture in pictures
        for number, edit in enumerate(FIXED_LIST)
    ]
    own = ai.extract(pictures).values.astype(np.float64)
    moved = ai.extract(copies).values.reshape(len(pictures), len(FIXED_LIST), -1).astype(np.float64)
    first = (own[-1] - own[0]) / np.linalg.norm(own[-1] - own[0])
    rest = (moved - own[:, None]).reshape(-1, own.shape[1])
    rest -= np.outer(rest @ first, first)
    second = np.linalg.svd(rest, full_matrices=False)[2][0]
    axes = np.stack([first, second], axis=1)
    moved_places, own_places = (moved - own[0]) @ axes, (own - own[0]) @ axes
    box = around(np.concatenate([own_places, moved_places.reshape(-1, 2)]))
    quantiser = packaged_index().quantiser
    flat = np.concatenate([own, moved.reshape(-1, own.shape[1])]).astype(np.float32)
    inverted = faiss.extract_index_ivf(quantiser.index)
    cells = inverted.quantizer.assign(flat, 1).ravel()
    inside = cells[len(own) :].reshape(len(pictures), len(FIXED_LIST)) == cells[0]
    centroids = inverted.quantizer.reconstruct_n(0, inverted.nlist).astype(np.float64)
    return {
        "edits": [str(edit).replace("_", " ") for edit in FIXED_LIST],
        "box": box,
        "cells": slices(centroids, own[0], axes, int(cells[0]), box),
        "own": rounded(own_places),
        "code": rounded((quantiser.reconstruct(flat[:1])[0] - own[0]) @ axes),
        "copies": rounded(moved_places),
        "inside": inside.tolist(),
    }


def blended(original: Image.Image, activated: Image.Image, share: float) -> Image.Image:
    """The picture on the way from the original to the activated one."""
    return Image.blend(original, activated, share)


def around(places: Vectors) -> Box:
    """A square around some places."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = 1.16 * float((high - low).max())
    left, middle = (low[0] + high[0] - side) / 2, (low[1] + high[1]) / 2
    return round(float(left), 3), round(float(middle + side / 2), 3), round(side, 3)


def slices(centroids: Vectors, origin: Vectors, axes: Vectors, own: int, box: Box) -> list[Any]:
    """The polygons in which a plane cuts Voronoi cells, and whether each is the original's."""
    left, top, side = box
    right, bottom = left + side, top - side
    shifted, lengths = centroids @ axes, np.sum((centroids - origin) ** 2, axis=1)
    shifted -= origin @ axes
    found = []
    for number in range(len(centroids)):
        polygon: Polygon = [(left, bottom), (right, bottom), (right, top), (left, top)]
        # Nearer to this centroid than to the other: normal . point <= offset, in the plane.
        normals = 2 * (shifted - shifted[number])
        offsets = lengths - lengths[number]
        for normal, offset in zip(normals, offsets, strict=True):
            polygon = clipped(polygon, normal, offset)
        if polygon:
            found.append([number == own, rounded(np.array(polygon))])
    return found


def clipped(polygon: Polygon, normal: Vectors, offset: float) -> Polygon:
    """The part of a polygon where ``normal . point <= offset``."""
    found: Polygon = []
    for place, (x, y) in enumerate(polygon):
        before_x, before_y = polygon[place - 1]
        here = normal[0] * x + normal[1] * y - offset
        before = normal[0] * before_x + normal[1] * before_y - offset
        if (here <= 0) != (before <= 0):
            share = before / (before - here)
            found.append((before_x + share * (x - before_x), before_y + share * (y - before_y)))
        if here <= 0:
            found.append((x, y))
    return found


def rounded(values: Vectors) -> Any:
    """The values as lists with three digits behind the point."""
    return np.round(values, 3).tolist()


def drawing(scene: dict[str, Any]) -> str:
    """The first and the last step side by side, for readers without scripts."""
    size, gap = 360, 20
    left, top, side = scene["box"]

    def at(place: list[float]) -> str:
        return f"{(place[0] - left) / side * size:.1f},{(top - place[1]) / side * size:.1f}"

    def line(places: list[list[float]], style: str) -> str:
        return f'<path d="M{" ".join(map(at, places))}" {style}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * size + gap} {size + 30}" '
        'font-family="sans-serif" font-size="14" stroke-linecap="round">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for panel, step in enumerate((0, -1)):
        parts.append(f'<g transform="translate({panel * (size + gap)},0)">')
        for own, corners in scene["cells"]:
            fill = "#dcebfa" if own else "#f7f7f5"
            parts.append(line([*corners, corners[0]], f'fill="{fill}" stroke="#9aa3ab"'))
        start = scene["own"][step]
        for place, inside in zip(scene["copies"][step], scene["inside"][step], strict=True):
            colour = "#1f6fb5" if inside else "#c8501e"
            parts.append(line([start, place], f'stroke="{colour}" opacity="0.35"'))
            parts.append(line([place, place], f'stroke="{colour}" stroke-width="9"'))
        parts.append(line([start, start], 'stroke="#111" stroke-width="14"'))
        text = f"{sum(scene['inside'][step])} of {len(scene['edits'])} copies stay in the cell"
        title = ("original", "activated")[panel]
        parts.append(f'<text x="4" y="{size + 20}">{title}: {text}</text></g>')
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    main()
