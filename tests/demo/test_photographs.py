"""The demo's photographs and the reference collection made of textures."""

from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.demo.photographs import PHOTOGRAPHS as FOLDER
from activeindex.demo.photographs import write_photographs, write_references
from activeindex.images.folder import list_images
from activeindex.runtime.reporting import Progress
from tests.cli.collection import contents

PICTURES = FOLDER.parent
PHOTOGRAPHS = list_images(FOLDER)
TEXTURES = list_images(PICTURES / "textures")


def test_the_terms_of_every_picture_are_given() -> None:
    sources = (PICTURES / "SOURCES.md").read_text()
    for path in (*PHOTOGRAPHS, *TEXTURES):
        assert f"{path.name}`" in sources, path.name


def test_photographs_are_written_as_they_are_shipped(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    written = list_images(tmp_path)
    assert [path.stem for path in written] == [path.stem for path in PHOTOGRAPHS]
    for path, source in zip(written, PHOTOGRAPHS, strict=True):
        image = Image.open(path)
        assert 300 <= max(image.size) <= 640
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(source).convert("RGB")))


def test_collection_has_the_asked_count_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    for name, count, seed in (("a", 30, 0), ("b", 30, 0), ("more", 35, 0), ("other", 30, 1)):
        write_references(tmp_path / name, count, seed, Progress())
        assert len(list_images(tmp_path / name)) == count
    first = contents(tmp_path / "a")
    assert contents(tmp_path / "b") == first
    assert first.items() <= contents(tmp_path / "more").items()
    differing = [k for k, v in contents(tmp_path / "other").items() if first[k] != v]
    assert len(differing) == 30 - len(TEXTURES)


def test_no_photograph_is_among_the_references(tmp_path: Path) -> None:
    write_references(tmp_path, 20, 0, Progress())
    sources = {path.stem.partition("_")[2] for path in list_images(tmp_path)}
    assert sources == {path.stem for path in TEXTURES}
    assert not sources & {path.stem for path in PHOTOGRAPHS}


def test_collection_written_again_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    """Features are extracted again for files that were written to."""
    write_references(tmp_path, 12, 0, Progress())
    before = {path: path.stat().st_mtime_ns for path in list_images(tmp_path)}
    list_images(tmp_path)[3].unlink()
    write_references(tmp_path, 12, 0, Progress())
    after = {path: path.stat().st_mtime_ns for path in list_images(tmp_path)}
    assert after.keys() == before.keys()
    assert [path.name[:5] for path in before if before[path] != after[path]] == ["00003"]
