"""Synthetic features that resemble those of images: unit vectors in unequal clusters.

Every block is drawn from its own seed, so any part can be made again alone, and memory is that of
one block.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

BLOCK = 1 << 15
CENTRES = 4000
SPREAD = 0.9
"""Length of the noise beside a centre of length 1: two members of a cluster are about as far apart
(squared distance 0.9) as different pictures of one kind of scene are for SSCD."""


def block(number: int, dimension: int, seed: int = 0) -> Array:
    """Features ``(BLOCK, dimension)``."""
    centres = unit(np.random.default_rng([seed, 0]).normal(size=(CENTRES, dimension)))
    generator = np.random.default_rng([seed, 1 + number])
    # A few large clusters and many small ones.
    chosen = (CENTRES * generator.random(BLOCK) ** 2).astype(np.int64)
    noise = generator.standard_normal((BLOCK, dimension), dtype=np.float32)
    return unit(centres[chosen] + noise * np.float32(SPREAD / np.sqrt(dimension)))


def blocks(count: int, dimension: int, seed: int = 0) -> Iterator[tuple[int, Array]]:
    """The first ``count`` features, block by block, each with the number of its first row."""
    for start in range(0, count, BLOCK):
        yield start, block(start // BLOCK, dimension, seed)[: count - start]


def copies(features: Array, seed: int = 0, noise: float = 0.5) -> Array:
    """Features of edited copies: the given ones with noise of that norm."""
    generator = np.random.default_rng([seed, 1 << 40])
    moved = generator.standard_normal(features.shape, dtype=np.float32)
    return unit(features + moved * np.float32(noise / np.sqrt(features.shape[1])))


def unit(values: npt.NDArray[np.floating]) -> Array:
    """Rows of length 1."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / lengths).astype(np.float32)
