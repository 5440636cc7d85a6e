"""Pictures of a run, as far as they can be found, and as data: URIs."""

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from activeindex.edits.edited import edit_generator
from activeindex.edits.named import edit_by_name
from activeindex.errors import ActiveIndexError
from activeindex.evaluation.retrieval import EditKey
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels
from activeindex.report.runs import ReportedRun
from activeindex.runtime.files import name_of_line, path_inside, read_json, read_lines

_NAMES = "filenames.txt"


@dataclass(frozen=True)
class Embedded:
    """A picture inside the page.

    Attributes:
        uri: ``data:image/webp;base64,…``.
        width: Width in pixels.
        height: Height in pixels.
    """

    uri: str
    width: int
    height: int


def embed(image: Image.Image, *, lossless: bool = False, quality: int = 75) -> Embedded:
    """Encode a picture as WebP; lossless where a change of one level has to be visible."""
    data = io.BytesIO()
    image.save(data, "WEBP", lossless=lossless, quality=quality, method=4, exact=lossless)
    text = base64.b64encode(data.getvalue()).decode()
    return Embedded(f"data:image/webp;base64,{text}", image.width, image.height)


def thumbnail(image: Image.Image, side: int) -> Image.Image:
    """A copy that fits into a square."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def embedded_thumbnail(path: Path | None, side: int, *, quality: int = 75) -> Embedded | None:
    """An image file that fits into a square; None if it is not there or cannot be decoded."""
    pixels = pixels_of(path)
    if pixels is None:
        return None
    return embed(thumbnail(Image.fromarray(pixels), side), quality=quality)


def pixels_of(path: Path | None) -> Pixels | None:
    """8-bit RGB pixels ``(H, W, 3)`` of a file; None if it is not there or cannot be decoded."""
    try:
        return None if path is None else np.asarray(read_rgb(path))
    except ActiveIndexError:
        return None


@dataclass(frozen=True)
class Pictures:
    """Paths of the pictures of a run.

    Attributes:
        run: The run.
        data_dir: The originals, where the run does not note them or they have been moved.
        references_dir: The reference images likewise.
    """

    run: ReportedRun
    data_dir: Path | None = None
    references_dir: Path | None = None

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Lines about pictures that cannot be shown, with the option that brings them."""
        lines = []
        if not self._originals:
            lines.append(
                f"{self.run.name}: the originals were not found"
                f"{self._where(self.run.folder.setting('data_dir'))}; --data_dir names their folder"
            )
        if not self._references:
            where = self._where(self.run.folder.setting("index", "fts_reference_path"))
            lines.append(
                f"{self.run.name}: the reference images were not found{where}; "
                "--references_dir names their folder"
            )
        if self.run.arm == "active" and self.released(0) is None:
            lines.append(
                f"{self.run.name}: the activated images were not kept; --save_imgs True of "
                "`activeindex main` keeps them"
            )
        return tuple(lines)

    @staticmethod
    def _where(noted: object) -> str:
        return f" where run.json says ({noted})" if noted else " (there is no run.json)"

    def original(self, number: int) -> Path | None:
        """The original of an image's number."""
        return self._originals[number] if 0 <= number < len(self._originals) else None

    def released(self, number: int) -> Path | None:
        """The released picture: the activated image, or in a passive run the original."""
        if released := self.run.folder.notes.get("released"):  # Of `activeindex evaluate`.
            return self._found(released[number])
        kept = sorted((self.run.folder.path / "imgs").glob(f"{number:05d}.*"))
        if kept:
            return kept[0]
        # A lossless passive release has the pixels of the original.
        lossless = self.run.folder.setting("release", "format", "name") in (None, "png")
        return self.original(number) if self.run.arm == "passive" and lossless else None

    def indexed(self, image_id: int) -> Path | None:
        """The picture behind an id in the index: a reference or an original."""
        references = self.run.folder.references
        if image_id < 0 or references is None:
            return None
        if image_id >= references:
            return self.original(image_id - references)
        return self._references[image_id] if image_id < len(self._references) else None

    def query(self, number: int, edit: EditKey) -> Image.Image | None:
        """The query of an image under an edit, made again as the run made it."""
        path, seed = self.released(number), self.run.folder.setting("seed")
        if path is None or not isinstance(seed, int):
            return None
        try:
            return edit_by_name(*edit)(read_rgb(path), edit_generator(seed, number)).image
        except ActiveIndexError:
            return None

    @cached_property
    def _originals(self) -> list[Path]:
        folder = self.data_dir or self._found(self.run.folder.setting("data_dir"))
        return _images(folder, self.run.folder.notes.get("images"))

    @cached_property
    def _references(self) -> list[Path]:
        features = self._found(self.run.folder.setting("index", "fts_reference_path"))
        names = features.with_name(_NAMES) if features else None
        folder = self.references_dir
        if folder is None and features is not None:
            note = features.with_suffix(".json")
            noted = read_json(note).get("data_dir") if note.is_file() else None
            folder = Path(noted) if isinstance(noted, str) else None
        if folder is None:
            return []
        if names is not None and names.is_file():
            listed = [
                path_inside(folder, name_of_line(line), str(names)) for line in read_lines(names)
            ]
            return listed if listed and listed[0].is_file() else []
        return _images(folder, self.run.folder.references)

    def _found(self, noted: object) -> Path | None:
        """A path that a run noted, relative to here or to a folder above the run's."""
        if not isinstance(noted, str):
            return None
        for base in (Path(), *self.run.folder.path.resolve().parents):
            if (base / noted).exists():
                return base / noted
        return None


def _images(folder: Path | None, expected: object) -> list[Path]:
    """The images of a folder; none if there are not as many as the run had."""
    if folder is None or not folder.is_dir():
        return []
    try:
        paths = list_images(folder)
    except ActiveIndexError:
        return []
    return paths if expected is None or len(paths) == expected else []
