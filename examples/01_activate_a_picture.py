"""Activate one picture and save it: ``python 01_activate_a_picture.py [PICTURE [INDEX]]``."""

import sys

from pictures import pictures, trained_index

import activeindex as ai

picture = sys.argv[1] if len(sys.argv) > 1 else pictures() / "chelsea.png"
index = sys.argv[2] if len(sys.argv) > 2 else trained_index()

result = ai.activate(picture, index, psnr=42.5)
print(result)

folder = result.save("released")  # The picture, and a record of how it was made.
print(f"saved in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
