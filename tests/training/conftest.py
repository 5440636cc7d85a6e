"""A folder of training images: crops of photographs."""

from pathlib import Path

import pytest

from activeindex.images.decoding import read_rgb
from tests.photographs import OTHERS, PROTECTED, find_photograph


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """38 images of 96 pixels: two places of each photograph."""
    made = tmp_path_factory.mktemp("images")
    for name in (*PROTECTED, *OTHERS):
        image = read_rgb(find_photograph(name))
        side = min(image.size) // 2
        for number, corner in enumerate(((0, 0), (image.width - side, image.height - side))):
            box = (*corner, corner[0] + side, corner[1] + side)
            path = made / f"{Path(name).stem}_{number}.png"
            image.resize((96, 96), box=box).save(path)
    return made
