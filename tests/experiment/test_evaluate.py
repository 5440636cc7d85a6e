"""``evaluate``: released pictures of any origin, against the codes of their originals."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from PIL import Image, ImageOps

from activeindex.cli import run
from activeindex.errors import InputError, MissingExtraError, UnreadableImageError
from activeindex.evaluation.csv_files import read_retrieval
from activeindex.experiment.evaluate import evaluate
from activeindex.experiment.folder import RunFolder, RunSummary
from activeindex.experiment.run import run_experiment
from activeindex.experiment.settings import EvaluationSettings, ExperimentSettings, IndexSettings
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.extractors.named import load_extractor
from activeindex.images.levels import Pixels
from activeindex.images.quality import measure_quality
from activeindex.indexing.artefact import TrainedIndex
from activeindex.report.page import write_report
from activeindex.runtime.pool import LocalEngine

FACTORY, NEIGHBOURS, NPROBE = "IVF4,PQ8x4np", 10, 2


@dataclass(frozen=True)
class World:
    """Photographs, two releases of them, features of their crops, and the passive arm of a run."""

    root: Path
    extractor: Extractor
    photographs: dict[str, Pixels]

    @property
    def originals(self) -> Path:
        return self.root / "originals"

    @property
    def index(self) -> Path:
        return self.root / "indexes" / f"idx={FACTORY}_quant=L2.index"

    @property
    def references(self) -> Path:
        return self.root / "references_fts"


def noisy(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(0).integers(-4, 5, pixels.shape)
    changed: Pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return changed


@pytest.fixture(scope="module")
def world(photographs: dict[str, Pixels], tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    small = {
        name: np.asarray(Image.fromarray(p).resize((160, 120))) for name, p in photographs.items()
    }
    for folder in ("originals", "released", "renamed", "references"):
        (root / folder).mkdir()
    for number, (name, pixels) in enumerate(sorted(small.items())):
        Image.fromarray(pixels).save(root / "originals" / f"{name}.png")
        Image.fromarray(noisy(pixels)).save(root / "released" / f"{name}.webp", lossless=True)
        Image.fromarray(noisy(pixels)).save(root / "renamed" / f"{number:05d}.png")
    for name, pixels in photographs.items():
        for number, (top, left) in enumerate(np.random.default_rng(1).integers(0, 100, (12, 2))):
            crop = Image.fromarray(pixels[top : top + 96, left : left + 96])
            crop.save(root / "references" / f"{name}{number}.png")
    extractor = load_extractor("lite0_copy", 64)
    extract_folder(extractor, root / "references", root / "references_fts")
    features = root / "references_fts" / "fts.pt"
    settings = ExperimentSettings(
        root / "originals",
        root / "passive",
        IndexSettings(features, features, FACTORY, nprobe=NPROBE, idx_dir=root / "indexes"),
        EvaluationSettings(NEIGHBOURS, eval_icd=False),
        active=False,
        save_imgs=False,
    )
    run_experiment(settings, extractor)
    return World(root, extractor, small)


def test_originals_given_twice_are_the_passive_arm_of_a_run(world: World, tmp_path: Path) -> None:
    with LocalEngine(2) as workers:
        result = evaluate(
            world.originals,
            str(world.originals),
            index=world.index,
            extractor=world.extractor,
            references=world.references,
            kneighbors=NEIGHBOURS,
            nprobe=NPROBE,
            output_dir=tmp_path / "evaluated",
            workers=workers,
        )
    passive = world.root / "passive"
    for name in ("retr_df.csv", "queries.csv"):
        assert (tmp_path / "evaluated" / name).read_bytes() == (passive / name).read_bytes()
    assert result.recall == RunSummary.read(passive).recall
    assert "7 images: 7 unchanged" in str(result)
    assert not (tmp_path / "evaluated" / "activation.jsonl").exists()


def test_released_files_are_paired_by_name_whatever_their_suffix(
    world: World, tmp_path: Path
) -> None:
    result = evaluate(
        world.originals,
        world.root / "released",
        index=world.index,
        extractor=world.extractor,
        references=world.references,
        edits=["none", "jpeg 50"],
        output_dir=tmp_path / "run",
    )
    assert [row.label for row in result.recall.rows] == ["none", "jpeg 50"]
    assert len(result.rows) == 2 * len(result) == 14
    for name, quality in zip(result.names, result.quality, strict=True):
        original = world.photographs[Path(name).stem]
        assert quality == measure_quality(original, noisy(original))
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.references, folder.setting("active")) == (84, True)
    summary = RunSummary.read(tmp_path / "run")
    assert summary.recall == result.recall
    assert summary.distortion is not None
    assert summary.distortion.psnr[0] == pytest.approx(result.distortion["psnr"])
    assert len(list(read_retrieval(tmp_path / "run" / "retr_df.csv"))) == 14
    page = write_report({"run": tmp_path / "run"}, tmp_path / "report").read_text()
    assert "astronaut.png" in page
    assert "not kept" not in page
    assert "images were not found" not in page


def test_released_files_of_other_names_are_paired_in_order(world: World) -> None:
    named, numbered = (
        evaluate(
            world.originals,
            world.root / folder,
            index=world.index,
            extractor=world.extractor,
            edits=["none", "auto"],
        )
        for folder in ("released", "renamed")
    )
    assert numbered.quality == named.quality
    assert numbered.recall == named.recall


def test_images_of_any_kind_and_functions_as_edits_are_taken(world: World) -> None:
    pixels = [world.photographs[name] for name in ("astronaut", "coffee")]
    changed: list[Any] = [Image.fromarray(noisy(pixels[0])), noisy(pixels[1])[::2, ::2] / 255.0]
    index = TrainedIndex.read(world.index)
    result = evaluate(
        pixels,
        changed,
        index=index,
        extractor=world.extractor,
        edits=[lambda image, generator: ImageOps.mirror(image), "none"],
    )
    assert result.names == ("image 0", "image 1")
    assert result.quality == (measure_quality(pixels[0], noisy(pixels[0])), None)
    assert "1 of another size" in str(result)
    assert index.index.ntotal == 0


def test_images_in_the_index_are_references(world: World) -> None:
    filled = TrainedIndex.read(world.index).index
    features = read_features(world.references / "fts.pt", "references").values
    filled.add(features)
    held, given = (
        evaluate(
            world.originals,
            world.originals,
            index=index,
            references=references,
            extractor=world.extractor,
            edits=["none", "blur 11"],
        )
        for index, references in ((filled, None), (world.index, features))
    )
    assert held.references == given.references == len(features)
    assert held.recall == given.recall
    assert filled.ntotal == len(features)


def test_rows_become_a_data_frame(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    result = evaluate(
        world.originals,
        world.originals,
        index=world.index,
        extractor=world.extractor,
        edits="none",
    )
    pandas = pytest.importorskip("pandas", reason="needs activeindex[pandas]")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["r@1"].mean() == result.recall.average.r_at_1
    assert list(frame["name"]) == list(result.names)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"activeindex\[pandas\]"):
        result.to_pandas()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edits": []}, "edits: expected one or more, found none"),
        ({"edits": ["melt"]}, "edit: expected one of none, .*, found melt"),
        ({"kneighbors": 0}, "kneighbors: expected 1 or more, found 0"),
        ({"descriptor_views": 17}, "descriptor_views: expected 0 to 16, found 17"),
        ({"nprobe": 0}, "nprobe: expected 1 or more, found 0"),
        (
            {"index": 5},
            "^index: expected a trained index, its file or its folder, found a int$",
        ),
        ({"index": "gone"}, "index gone: expected a trained index, folder or file, found nothing"),
        ({"index": faiss.IndexFlatL2(8)}, "features of dimension 256, .* found dimension 8"),
        ({"references": "gone.pt"}, "references gone.pt: expected a file, found nothing"),
        (
            {"references": np.zeros((3, 8), np.float32)},
            "^references: expected features of dimension 256, as those of .*, found dimension 8$",
        ),
        ({"originals": "gone"}, "originals gone: expected a folder, found nothing"),
        ({"released": []}, "images: expected one or more, found none"),
        ({"released": [np.zeros((32, 32, 3), np.uint8)]}, "expected 7 pictures, .* found 1"),
        ({"released": ["gone.png"] * 7}, "released gone.png: expected a file, found nothing"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(
    world: World, change: dict[str, object], message: str
) -> None:
    given = {"originals": world.originals, "released": world.originals, "index": world.index}
    arguments: dict[str, Any] = {**given, **change}
    with pytest.raises(InputError, match=message) as caught:
        evaluate(extractor=world.extractor, **arguments)
    assert "\n" not in str(caught.value)


def test_first_unpaired_picture_is_named(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "released", tmp_path / "released")
    for folders, message in (
        ((world.originals, tmp_path / "released"), "found none for chelsea.png"),
        ((tmp_path / "released", world.originals), "found chelsea.png without one"),
    ):
        (tmp_path / "released" / "chelsea.webp").unlink(missing_ok=True)
        with pytest.raises(InputError, match=f"^released .*{message}$"):
            evaluate(*folders, index=world.index, extractor=world.extractor)


def test_unreadable_picture_and_another_run_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"output_dir .*passive: expected .* found run\.json"):
        evaluate(
            world.originals,
            world.originals,
            index=world.index,
            extractor=world.extractor,
            output_dir=world.root / "passive",
        )
    shutil.copytree(world.root / "released", tmp_path / "released")
    (tmp_path / "released" / "rocket.webp").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"rocket\.webp"):
        evaluate(
            world.originals,
            tmp_path / "released",
            index=world.index,
            extractor=world.extractor,
            edits=["none"],
        )


def test_index_of_another_extractor_needs_force(world: World) -> None:
    other = load_extractor("lite0_copy", 96)
    with pytest.raises(InputError, match=r"at 64 px.* at 96 px.*force"):
        evaluate(world.originals, world.originals, index=world.index, extractor=other)
    result = evaluate(
        world.originals,
        world.originals,
        index=world.index,
        extractor=other,
        edits=["none"],
        force=True,
    )
    assert len(result) == 7


def test_command_prints_the_table_and_writes_a_run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [str(world.originals), str(world.root / "released")]
    options = ["--index", str(world.index), "--fts_reference_path", str(world.references)]
    options += ["--model_name", "lite0_copy", "--resize_size", "64", "--workers", "0"]
    edits = ["--edits", "none", "jpeg 50", "tests.experiment.test_evaluate:flipped"]
    output = tmp_path / "run"
    assert run(["evaluate", *pictures, *options, *edits, "--output_dir", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "| jpeg 50" in printed
    assert "| flipped" in printed
    assert run(["evaluate", *pictures, *options, *edits, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["attack"] for row in found["recall"]] == ["none", "jpeg", "flipped", "avg"]
    recall = RunSummary.read(output).recall
    assert recall is not None
    assert found["recall"][-1]["r_at_1"] == recall.average.r_at_1
    assert run(["evaluate", *pictures, *options, "--output_dir", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def flipped(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return ImageOps.flip(image)
