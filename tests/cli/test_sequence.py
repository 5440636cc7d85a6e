"""The seed's commands, as its README gives them, on a small folder in DISC21's layout."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from activeindex.cli import run
from tests.cli.collection import (
    EDITS,
    FACTORY,
    MATCHED,
    NEIGHBOURS,
    NON_MATCHING,
    OTHER_REFERENCES,
    REFERENCES,
    SIZE,
    TRAINING,
    Prepared,
    python,
)

INDEX = f"idx={FACTORY}_quant=L2.index"
IDS = [OTHER_REFERENCES + number for number in range(len(MATCHED))]
RETRIEVAL = [
    "batch",
    "image_index",
    "attack",
    "attack_param",
    "retrieved_distances",
    "retrieved_indices",
    "rank",
    "r@1",
    "r@10",
    "r@100",
    "ap",
]
DETECTION = [
    *("batch", "image_index", "attack", "retrieved_distances", "retrieved_ids"),
    *("attack_param", "retrieved_indices"),
]
EDIT_LIST = [
    ("none", ""),
    ("auto", ""),
    ("meme_format", ""),
    ("overlay_onto_screenshot", ""),
    ("rotation", "25"),
    ("rotation", "90"),
    ("center_crop", "0.5"),
    ("resize", "0.5"),
    ("blur", "11"),
    ("jpeg", "50"),
    ("hue", "0.2"),
    ("contrast", "0.5"),
    ("contrast", "2.0"),
    ("brightness", "0.5"),
    ("brightness", "2.0"),
]

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Sequence:
    root: Path
    active: str
    passive: str
    index_before: tuple[bytes, int]

    def rows(self, arm: str, file: str) -> Rows:
        with (self.root / f"output_{arm}" / file).open(newline="") as opened:
            return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def sequence(prepared: Prepared) -> Sequence:
    """Both arms: the active one with the seed's spelling, the passive one with dashes."""
    shared = (
        *("--model_name", "torchscript", "--idx_factory", FACTORY, "--idx_dir", "indexes"),
        *("--fts_training_path", "fts_train/fts.pt", "--fts_reference_path", "fts_ref/fts.pt"),
        *("--data_dir", "disc/references_10k", "--query_nonmatch_dir", "disc/queries_40k"),
        *("--kneighbors", str(NEIGHBOURS), "--resize_size", str(SIZE)),
    )
    main = ("-m", "activeindex.main")
    active = python(
        *main, *shared, "--active", "True", "--output_dir", "output_active", cwd=prepared.root
    )
    index = prepared.root / "indexes" / INDEX
    before = index.read_bytes(), index.stat().st_mtime_ns
    dashed = [part.replace("_", "-") if part.startswith("--") else part for part in shared]
    passive = python(
        *main,
        *dashed,
        *("--active", "False", "--output-dir", "output_passive", "--save-imgs", "False"),
        cwd=prepared.root,
    )
    for done in (active, passive):
        assert done.stderr == ""
    return Sequence(prepared.root, active.stdout, passive.stdout, before)


def numbers(cell: str) -> list[float]:
    assert cell.startswith("[")
    assert cell.endswith("]")
    return [float(number) for number in cell[1:-1].split()]


def test_prepare_disc_splits_references_and_draws_queries(prepared: Prepared) -> None:
    disc = prepared.root / "disc"
    names = {
        folder: {path.name for path in (disc / folder).iterdir()}
        for folder in ("references_10k", "references_990k", "queries_40k")
    }
    matched = {f"R{number:06d}.jpg" for number in MATCHED}
    assert names["references_10k"] == matched
    assert names["references_990k"] == {f"R{n:06d}.jpg" for n in range(REFERENCES)} - matched
    assert len(names["queries_40k"]) == NON_MATCHING
    assert all((disc / "queries_40k" / name).is_symlink() for name in names["queries_40k"])
    assert prepared.printed["prepare_disc"].splitlines()[-3:] == [
        f"disc/references_10k: {len(MATCHED)} images",
        f"disc/references_990k: {OTHER_REFERENCES} images",
        f"disc/queries_40k: {NON_MATCHING} images",
    ]


def test_extract_fts_writes_one_feature_per_image_and_its_name(prepared: Prepared) -> None:
    features = torch.load(prepared.training, weights_only=True)
    names = (prepared.training.parent / "filenames.txt").read_text().splitlines()
    assert tuple(features.shape) == (TRAINING, 256)
    assert features.dtype == torch.float32
    assert names == [f"T{number:06d}.jpg" for number in range(TRAINING)]


def test_index_is_kept_under_the_seeds_name_and_reused(sequence: Sequence) -> None:
    index = sequence.root / "indexes" / INDEX
    assert (index.read_bytes(), index.stat().st_mtime_ns) == sequence.index_before


@pytest.mark.parametrize("arm", ["active", "passive"])
@pytest.mark.parametrize(
    ("file", "columns"), [("retr_df.csv", RETRIEVAL), ("icd_df.csv", DETECTION)]
)
def test_results_have_the_columns_of_the_seed(
    sequence: Sequence, arm: str, file: str, columns: list[str]
) -> None:
    assert list(sequence.rows(arm, file)[0]) == columns


@pytest.mark.parametrize("arm", ["active", "passive"])
def test_every_image_is_searched_under_every_edit(sequence: Sequence, arm: str) -> None:
    rows = sequence.rows(arm, "retr_df.csv")
    assert len(rows) == len(MATCHED) * EDITS
    searched = [
        (int(row["image_index"]), row["attack"].split(" (")[0], row["attack_param"]) for row in rows
    ]
    assert sorted(searched) == sorted((i, *edit) for i in IDS for edit in EDIT_LIST)


@pytest.mark.parametrize("arm", ["active", "passive"])
def test_retrieval_rows_hold_k_neighbours_and_what_follows_from_them(
    sequence: Sequence, arm: str
) -> None:
    for row in sequence.rows(arm, "retr_df.csv"):
        distances, ids = numbers(row["retrieved_distances"]), numbers(row["retrieved_indices"])
        assert len(distances) == len(ids) == NEIGHBOURS
        assert distances == sorted(distances)
        assert set(ids) <= {-1, *range(REFERENCES)}
        original = int(row["image_index"])
        rank = ids.index(original) if original in ids else NEIGHBOURS
        assert int(row["rank"]) == rank
        assert [int(row[f"r@{n}"]) for n in (1, 10, 100)] == [
            int(rank < min(n, NEIGHBOURS)) for n in (1, 10, 100)
        ]
        assert float(row["ap"]) == pytest.approx(1 / (rank + 1))


@pytest.mark.parametrize("arm", ["active", "passive"])
def test_detection_rows_are_the_matching_queries_and_then_the_others(
    sequence: Sequence, arm: str
) -> None:
    rows = sequence.rows(arm, "icd_df.csv")
    assert [int(row["image_index"]) for row in rows] == [*IDS, *[-1] * NON_MATCHING]
    for row in rows:
        assert row["attack"].startswith("auto")
        assert len(numbers(row["retrieved_distances"])) == NEIGHBOURS
        assert len(numbers(row["retrieved_ids"])) == NEIGHBOURS
        assert (row["attack_param"], row["retrieved_indices"]) == ("", row["retrieved_ids"])


def test_activated_images_are_saved_in_dataset_order(
    sequence: Sequence, prepared: Prepared
) -> None:
    saved = sorted((sequence.root / "output_active" / "imgs").iterdir())
    originals = sorted(prepared.images.iterdir())
    assert [path.name for path in saved] == [f"{n:05d}.png" for n in range(len(originals))]
    for path, original in zip(saved, originals, strict=True):
        image, before = Image.open(path), Image.open(original)
        assert (image.size, image.mode) == (before.size, "RGB")
        change = np.abs(np.asarray(image, np.int16) - np.asarray(before.convert("RGB"), np.int16))
        assert 0 < change.max() <= 64
        assert change.mean() < 10


def test_no_images_are_saved_when_asked_not_to(sequence: Sequence) -> None:
    assert not (sequence.root / "output_passive" / "imgs").exists()


def test_unedited_images_are_found_first_in_both_arms(sequence: Sequence) -> None:
    for arm in ("passive", "active"):
        rows = [r for r in sequence.rows(arm, "retr_df.csv") if r["attack"] == "none"]
        assert [int(row["image_index"]) for row in rows] == IDS
        assert [row["r@1"] for row in rows] == ["1"] * len(IDS)


def test_non_matching_queries_are_the_same_in_both_arms(sequence: Sequence) -> None:
    """Nothing but the activation differs: same index, same ids, same random edits."""
    passive, active = (sequence.rows(arm, "icd_df.csv") for arm in ("passive", "active"))
    assert passive[len(MATCHED) :] == active[len(MATCHED) :]
    assert [row["attack"] for row in passive] == [row["attack"] for row in active]


def test_activation_brings_unedited_images_nearer_to_their_code(sequence: Sequence) -> None:
    def distance(arm: str) -> float:
        rows = [r for r in sequence.rows(arm, "retr_df.csv") if r["attack"] == "none"]
        return float(np.mean([numbers(row["retrieved_distances"])[0] for row in rows]))

    assert distance("active") < distance("passive")


def test_each_activated_image_has_a_record(sequence: Sequence) -> None:
    records = [
        json.loads(line)
        for line in (sequence.root / "output_active" / "activation.jsonl").read_text().splitlines()
    ]
    assert [record["name"] for record in records] == [f"R{number:06d}.jpg" for number in MATCHED]
    for record in records:
        assert 30 < record["psnr"] < 50
        assert 0.9 < record["ssim"] < 1
        assert record["distance_after"] < record["distance_before"]
    assert not (sequence.root / "output_passive" / "activation.jsonl").exists()


def test_each_run_ends_with_its_table(sequence: Sequence) -> None:
    for text, file in ((sequence.active, "output_active"), (sequence.passive, "output_passive")):
        lines = text.splitlines()
        none = rf"\| none +\| +{len(MATCHED)} \| +1.000 \|"
        assert any(re.match(none, line) for line in lines)
        assert any(line.startswith("| avg ") for line in lines)
        assert any("µAP" in line for line in lines)
        assert lines[-1].startswith(f"{file}: results")
        assert max(map(len, lines)) <= 100
    assert "PSNR" in sequence.active
    assert "PSNR" not in sequence.passive


def test_nothing_but_results_is_left(sequence: Sequence) -> None:
    assert list(sequence.root.rglob(".*")) == []


@pytest.mark.parametrize("command", ["prepare_disc", "extract_fts"])
def test_the_seeds_commands_are_found_from_the_root_of_a_clone(command: str) -> None:
    root = Path(__file__).parents[2]
    shown = python(command, "--help", cwd=root).stdout
    assert shown.startswith(f"usage: python -m activeindex.{command} ")


def test_features_that_the_seed_calls_pth_are_those_that_are_there(
    prepared: Prepared, runs: Path, tmp_path: Path
) -> None:
    options = prepared.main_options(
        **{"active": False, "save_imgs": False, "verbose": 0, "eval_icd": False},
        **{"fts_training_path": prepared.training.with_suffix(".pth")},
        **{"fts_reference_path": prepared.references.with_suffix(".pth")},
        **{"output_dir": tmp_path / "out", "idx_dir": runs / "indexes"},
    )
    assert run(["main", *options]) == 0
