"""Measure how often copies are found after an edit of your own."""

from pathlib import Path

import numpy as np
from pictures import collection, pictures
from PIL import Image

import activeindex as ai


def shred(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Shifts every row of an RGB image by a few pixels at random."""
    rows = np.array(image)
    for row, shift in enumerate(generator.integers(-6, 7, len(rows))):
        rows[row] = np.roll(rows[row], shift, axis=0)
    return Image.fromarray(rows)


references = ai.extract(collection())
activated = ai.activate(pictures(), preset="fast")
arms: dict[str, Path | ai.ActivationResult] = {"passive": pictures(), "active": activated}
for name, released in arms.items():
    result = ai.evaluate(
        pictures(), released, references=references, edits=["none", "blur 11", shred]
    )
    print(f"{name}:\n{result}\n")
