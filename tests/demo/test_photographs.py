"""The demo's photographs and the reference collection made of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from activeindex.demo.photographs import (
    OTHERS,
    PROTECTED,
    find_photograph,
    write_protected,
    write_references,
)
from activeindex.errors import MissingExtraError
from activeindex.images.folder import list_images
from activeindex.runtime.reporting import Progress
from tests.cli.collection import contents, python


def test_every_photograph_is_there_and_decodes() -> None:
    for name in (*PROTECTED, *OTHERS):
        with Image.open(find_photograph(name)) as image:
            assert min(image.size) >= 128, name


def test_photographs_are_found_without_importing_their_packages(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from activeindex.demo.photographs import find_photograph\n"
        "find_photograph('skimage/chelsea.png'), find_photograph('sklearn/china.jpg')\n"
        "print('imported:', *sorted({'skimage', 'sklearn'} & set(sys.modules)))\n"
    )
    assert python("-c", program, cwd=tmp_path).stdout == "imported:\n"


def test_missing_photograph_names_the_extra_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"scikit-image.*activeindex\[demo\]"):
        find_photograph("skimage/mona_lisa.png")


def test_protected_photographs_are_scaled_to_at_most_640_pixels(tmp_path: Path) -> None:
    write_protected(tmp_path)
    written = list_images(tmp_path)
    assert [path.stem for path in written] == sorted(Path(name).stem for name in PROTECTED)
    for path in written:
        image = Image.open(path)
        assert max(image.size) <= 640
        assert image.mode == "RGB"
    astronaut = np.asarray(Image.open(find_photograph("skimage/astronaut.png")).convert("RGB"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "astronaut.png")), astronaut)


def test_collection_has_the_asked_count_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    for name, count, seed in (("a", 30, 0), ("b", 30, 0), ("more", 35, 0), ("other", 30, 1)):
        write_references(tmp_path / name, count, seed, Progress())
        assert len(list_images(tmp_path / name)) == count
    first = contents(tmp_path / "a")
    assert contents(tmp_path / "b") == first
    assert first.items() <= contents(tmp_path / "more").items()
    differing = [k for k, v in contents(tmp_path / "other").items() if first[k] != v]
    assert len(differing) == 30 - len(OTHERS)


def test_no_protected_photograph_is_among_the_references(tmp_path: Path) -> None:
    assert not {*PROTECTED} & {*OTHERS}
    write_references(tmp_path, 20, 0, Progress())
    sources = {path.stem.partition("_")[2] for path in list_images(tmp_path)}
    assert sources == {Path(name).stem for name in OTHERS}


def test_collection_written_again_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    """Features are extracted again for files that were written to."""
    write_references(tmp_path, 12, 0, Progress())
    before = {path: path.stat().st_mtime_ns for path in list_images(tmp_path)}
    list_images(tmp_path)[3].unlink()
    write_references(tmp_path, 12, 0, Progress())
    after = {path: path.stat().st_mtime_ns for path in list_images(tmp_path)}
    assert after.keys() == before.keys()
    assert [path.name[:5] for path in before if before[path] != after[path]] == ["00003"]
