"""Activate a folder and look at the results: ``python 02_activate_a_folder.py [FOLDER]``."""

import sys

from pictures import pictures, trained_index

import activeindex as ai

folder = sys.argv[1] if len(sys.argv) > 1 else pictures()
result = ai.activate(folder, trained_index(), preset="fast", format="webp")

# All images as a table, the mean below it.
print(result)

# One image: a Pillow image, its file, and its record.
first = result[0]
moved = first.distance_before - first.distance_after
print(f"{first.name}: {first.image.size}, {len(first.data)} bytes, {moved:.3f} nearer its target")

# A data frame, with `pip install ".[pandas]"`.
try:
    print(result.to_pandas().sort_values("psnr")[["name", "psnr", "ssim", "distance_after"]])
except ai.ActiveIndexError as error:
    print(error)

result.save("released")
