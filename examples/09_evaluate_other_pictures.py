"""Evaluate pictures that were activated elsewhere, by this program or any other."""

import sys
from pathlib import Path

import numpy as np
from pictures import collection, pictures
from PIL import Image

import activeindex as ai

if len(sys.argv) == 3:
    originals, released = Path(sys.argv[1]), Path(sys.argv[2])
else:  # Another way to change pictures: a little noise.
    originals, released = pictures(), Path("noisy")
    released.mkdir()
    generator = np.random.default_rng(0)
    for path in originals.iterdir():
        pixels = np.asarray(Image.open(path), np.int16)
        noisy = pixels + generator.integers(-2, 3, pixels.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(released / path.name)

result = ai.evaluate(
    originals,
    released,
    references=ai.extract(collection()),
    edits=["center_crop 0.5", "rotation 25", "blur 11", "jpeg 50"],
    output_dir="evaluation",  # For `activeindex table evaluation` and `activeindex report`.
)
print(result)
