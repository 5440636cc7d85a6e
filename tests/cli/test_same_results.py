"""A result depends on neither the batch size nor the number of workers."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from activeindex.cli import run
from tests.cli.collection import Prepared


@dataclass(frozen=True)
class Outcome:
    images: list[bytes]
    ranks: dict[tuple[str, str, str], str]
    attacks: list[str]


def outcome(folder: Path) -> Outcome:
    with (folder / "retr_df.csv").open(newline="") as file:
        ranks = {
            (row["image_index"], row["attack"], row["attack_param"]): row["rank"]
            for row in csv.DictReader(file)
        }
    with (folder / "icd_df.csv").open(newline="") as file:
        attacks = [row["attack"] for row in csv.DictReader(file)]
    images = [path.read_bytes() for path in sorted((folder / "imgs").iterdir())]
    return Outcome(images, ranks, attacks)


@pytest.fixture(scope="module")
def outcomes(
    prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, int], Outcome]:
    """By batch size and number of workers."""
    root = tmp_path_factory.mktemp("same")
    found = {}
    for batch_size, workers in ((16, 0), (1, 0), (16, 2)):
        out = root / f"{batch_size}-{workers}"
        options = prepared.main_options(
            batch_size=batch_size,
            batch_size_eval=128 if batch_size > 1 else 7,
            workers=workers,
            output_dir=out,
            idx_dir=root / "indexes",
            verbose=0,
        )
        assert run(["main", *options]) == 0
        found[batch_size, workers] = outcome(out)
    return found


@pytest.mark.parametrize("changed", [(1, 0), (16, 2)], ids=["batch size 1", "2 workers"])
def test_images_are_the_same_to_the_last_level(
    outcomes: dict[tuple[int, int], Outcome], changed: tuple[int, int]
) -> None:
    assert outcomes[changed].images == outcomes[16, 0].images
    assert len(outcomes[changed].images) == 4


@pytest.mark.parametrize("changed", [(1, 0), (16, 2)], ids=["batch size 1", "2 workers"])
def test_every_query_finds_its_original_at_the_same_rank(
    outcomes: dict[tuple[int, int], Outcome], changed: tuple[int, int]
) -> None:
    assert outcomes[changed].ranks == outcomes[16, 0].ranks
    assert outcomes[changed].attacks == outcomes[16, 0].attacks
