from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.images.decoding import read_rgb
from activeindex.images.encoding import write_png
from activeindex.images.levels import Pixels


def test_a_written_photograph_comes_back_bit_for_bit(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    write_png(tmp_path / "imgs" / "00000.png", photographs["chelsea"])
    assert Image.open(tmp_path / "imgs" / "00000.png").format == "PNG"
    back = np.asarray(read_rgb(tmp_path / "imgs" / "00000.png"))
    assert np.array_equal(back, photographs["chelsea"])
    assert [path.name for path in (tmp_path / "imgs").iterdir()] == ["00000.png"]
