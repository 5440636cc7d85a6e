"""A small folder in DISC21's layout: photographs that ship in packages and crops of them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.photographs import OTHERS, PROTECTED, find_photograph

TRAINING = 300
REFERENCES = 40
MATCHED = (3, 11, 19, 27)
"""The references that the ground truth names: those that an experiment releases."""
OTHER_REFERENCES = REFERENCES - len(MATCHED)
NON_MATCHING = 8
NEIGHBOURS = 20
SIZE = 64
FACTORY = "IVF4,PQ8x8np"
"""np: without half a minute of FAISS renumbering codes (polysemous training)."""
EDITS = 15


def crop(photograph: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A random part of a photograph, 96 to 160 pixels wide and high."""
    width, height = (int(side) for side in generator.integers(96, 161, 2))
    scale = generator.uniform(1.0, min(photograph.width / width, photograph.height / height))
    left = generator.uniform(0, photograph.width - scale * width)
    top = generator.uniform(0, photograph.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    return photograph.resize((width, height), Image.Resampling.BICUBIC, box=box)


def photographs(names: tuple[str, ...]) -> list[Image.Image]:
    return [Image.open(find_photograph(name)).convert("RGB") for name in names]


def make_disc(root: Path) -> None:
    """300 training images, 40 references, and a ground truth that names four of these."""
    sources = {"train": photographs(OTHERS), "references": photographs(PROTECTED)}
    for folder, count, letter in (("train", TRAINING, "T"), ("references", REFERENCES, "R")):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            generator = np.random.default_rng([ord(letter), number])
            picture = sources[folder][number % len(sources[folder])]
            crop(picture, generator).save(root / folder / f"{letter}{number:06d}.jpg", quality=92)
    rows = [f"Q{query:05d},R{number:06d}\n" for query, number in enumerate(MATCHED)]
    (root / "dev_queries_groundtruth.csv").write_text("".join(rows) + "Q00004,\n")


@dataclass(frozen=True)
class Prepared:
    """A DISC-like folder whose features are extracted.

    Attributes:
        root: The folder that the commands were given in.
        printed: What each command printed on standard output, by its name.
    """

    root: Path
    printed: Mapping[str, str]

    @property
    def images(self) -> Path:
        return self.root / "disc" / "references_10k"

    @property
    def non_matching(self) -> Path:
        return self.root / "disc" / "queries_40k"

    @property
    def training(self) -> Path:
        return self.root / "fts_train" / "fts.pt"

    @property
    def references(self) -> Path:
        return self.root / "fts_ref" / "fts.pt"

    def main_options(self, **changes: object) -> list[str]:
        """The options of ``main`` on this folder, with absolute paths, some of them changed."""
        options: dict[str, object] = {
            "idx_factory": FACTORY,
            "idx_dir": "indexes",
            "fts_training_path": self.training,
            "fts_reference_path": self.references,
            "data_dir": self.images,
            "query_nonmatch_dir": self.non_matching,
            "output_dir": "out",
            "kneighbors": NEIGHBOURS,
            "resize_size": SIZE,
            "workers": 0,
            **changes,
        }
        given = ((f"--{name}", str(value)) for name, value in options.items() if value is not None)
        return [part for option in given for part in option]


def python(
    *arguments: str | Path, cwd: Path, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs ``python …`` as a user does and checks its exit code."""
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stderr
    return done


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Threads that wait for each other asleep: spinning ones starve whatever runs beside."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
