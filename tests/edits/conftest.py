import numpy as np
import pytest
from PIL import Image
from skimage import data


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """A portrait, 512x512."""
    return Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def wide_photograph() -> Image.Image:
    """A cat, 451x300."""
    return Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call]


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
