"""Register pictures in a store, and find edited copies of them."""

from pathlib import Path

import numpy as np
from pictures import pictures
from PIL import Image

import activeindex as ai

# Activates the pictures, and makes a store on disk; lance://PATH instead of a path alone holds more
# images than fit into memory.
print(ai.register(pictures(), "store", "released", preset="fast"))

# Later, in another program, copies turn up.
Path("copies").mkdir()
for path in sorted(Path("released").glob("*.png")):
    for name, parameter in (("center_crop", 0.5), ("jpeg", 30), ("rotation", 15)):
        edit = ai.Edit(name, parameter)
        copy = edit(Image.open(path).convert("RGB"), np.random.default_rng(0)).image
        copy.save(f"copies/{path.stem}_{name}.png")

with ai.Store("store") as store:
    print(f"{store.count()} pictures in the store")
    found = store.search("copies", k=1)
for result in found:
    nearest = result.matches[0]
    print(f"{result.query}: {nearest.record.name} at distance {nearest.distance:.3f}")
