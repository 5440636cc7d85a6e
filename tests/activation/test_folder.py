import copy
import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from activeindex.activation.activate import activate_pictures
from activeindex.activation.folder import FolderActivation, activate_folder
from activeindex.activation.records import RECORDS_FILE, check_released
from activeindex.activation.settings import AS_PNG, PAPER, Budget, Preset, ReleaseSettings
from activeindex.errors import InputError, UnreadableImageError
from activeindex.extractors.base import Extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.features import extract_folder
from activeindex.identity import QuantiserIdentity
from activeindex.images.decoding import read_pixels
from activeindex.images.formats import FileFormat
from activeindex.images.levels import Pixels, to_tensor
from activeindex.images.quality import Quality, measure_quality
from activeindex.indexing.quantiser import Quantiser
from activeindex.indexing.training import train_faiss
from activeindex.runtime.pool import Engine, LocalEngine
from activeindex.runtime.reporting import Progress
from tests.extractors.linear import LinearExtractor, linear_features, linear_quantiser
from tests.runtime.reporters import Showing

ROOT = Path(__file__).parents[2]
FEW = PAPER.replace(iterations=2)
ASKED = Preset(FEW, AS_PNG)


def put(folder: Path, photographs: dict[str, Pixels], *names: str) -> None:
    """Small pieces of photographs, each another one."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(names):
        pixels = photographs[list(photographs)[number % len(photographs)]]
        top, left = generator.integers(200, size=2)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        piece = pixels[top : top + 40, left : left + 30 + number]
        Image.fromarray(piece).save(folder / name, quality=95)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(data_dir: Path, output_dir: Path, **options: Any) -> FolderActivation:
    preset = Preset(FEW, options.pop("release", AS_PNG))
    quantiser, extractor = linear_quantiser(), LinearExtractor()
    return activate_folder(data_dir, output_dir, quantiser, extractor, preset=preset, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RECORDS_FILE).read_text().splitlines()]


def test_every_image_is_released_as_png_under_its_name(
    tmp_path: Path,
    photographs: dict[str, Pixels],
    small_sscd: Extractor,
    quantiser: Quantiser,
) -> None:
    put(tmp_path / "in", photographs, "b.jpg", "a/c.png", "a/d.JPG")
    extractor = copy.deepcopy(small_sscd).to("cpu")  # A GPU does not add up twice alike.
    done = activate_folder(tmp_path / "in", tmp_path / "out", quantiser, extractor, preset=ASKED)
    assert done.count == 3
    assert done.skipped == ()
    assert done.warnings == ()
    assert set(files(tmp_path / "out")) == {
        "a/c.png", "a/d.png", "b.png", "activation.json", "activation.jsonl",
        "fts.pt", "filenames.txt", "fts.json",
    }  # fmt: skip
    names = ["a/c.png", "a/d.JPG", "b.jpg"]
    originals = [to_tensor(read_pixels(tmp_path / "in" / source)) for source in names]
    sources = [int(sha256(tmp_path / "in" / name), 16) for name in names]
    expected = activate_pictures(originals, extractor, quantiser, FEW, numbers=sources).images
    for number, (source, image) in enumerate(zip(names, expected, strict=True)):
        record = records(tmp_path / "out")[number]
        assert np.array_equal(read_pixels(tmp_path / "out" / record["output"]), image.pixels)
        output = str(Path(source).with_suffix(".png"))
        assert record == {
            "image": number,
            "name": source,
            "sha256": sha256(tmp_path / "in" / source),
            "output": output,
            "output_sha256": sha256(tmp_path / "out" / output),
            "format": "png",
            "quality": None,
            **{"psnr": image.psnr, "ssim": image.ssim, "linf": image.linf},
            "budget": {"psnr": None, "ssim": None, "linf": None, "beyond_codec": False},
            "budget_met": True,
            "passes": 2,
            "code": image.code.hex(),
            "distance_before": image.distance_before,
            "distance_after": image.distance_after,
            "quantiser": None,
            "also": [],
            "extractor": extractor.identity.as_json(),
            "settings": asdict(FEW),
            "seed": 0,
        }


def test_features_whose_codes_are_to_be_stored_are_written_beside_the_images(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.jpg", "sub/b.png")
    done = run(tmp_path / "in", tmp_path / "out")
    extraction = extract_folder(
        LinearExtractor(), tmp_path / "in", tmp_path / "fts", workers=LocalEngine()
    )
    assert done.features is not None
    assert done.features.name == extraction.features.name
    names = [(tmp_path / folder / "filenames.txt").read_text() for folder in ("out", "fts")]
    assert names == ["a.jpg\nsub/b.png\n"] * 2
    found, expected = (read_features(each, "fts") for each in (done.features, extraction.features))
    assert np.allclose(found.values, expected.values, atol=1e-6)
    assert found.extractor == expected.extractor
    assert found.descriptor_views == 0


def test_features_of_other_images_are_not_replaced(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    put(tmp_path / "others", photographs, "b.png", "c.png")
    extract_folder(LinearExtractor(), tmp_path / "others", tmp_path / "out")
    before = files(tmp_path / "out")
    with pytest.raises(InputError, match=r"out: expected one without features of other images"):
        run(tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == before


def test_a_note_that_was_deleted_to_start_over_is_not_in_the_way(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    run(tmp_path / "in", tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "out" / "activation.json").unlink()
    run(tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == before


class Stop(Progress):
    """Is interrupted before the last image of a second batch is done."""

    def __init__(self) -> None:
        self.left = 20

    def advance(self, items: int = 1, **figures: float) -> None:
        self.left -= items
        if self.left < 0:
            raise KeyboardInterrupt


def test_an_unfinished_activation_is_not_overwritten_by_an_extraction(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, *[f"{number:02d}.png" for number in range(24)])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out", reporter=Showing(Stop()))
    with pytest.raises(InputError, match=r"out: expected one without activated images, found an"):
        extract_folder(LinearExtractor(), tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out").before == 20


def test_images_that_differ_only_in_their_extension_keep_apart(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.jpg", "a.png", "a.jpg.png", "b.jpg", "sub/a.bmp")
    assert run(tmp_path / "in", tmp_path / "out").count == 5
    names = {record["name"]: record["output"] for record in records(tmp_path / "out")}
    assert len(set(names.values())) == 5
    assert names["b.jpg"] == "b.png"
    assert names["sub/a.bmp"] == "sub/a.png"
    assert names["a.png"] == "a.png.png"
    for name, output in names.items():
        before, after = read_pixels(tmp_path / "in" / name), read_pixels(tmp_path / "out" / output)
        assert before.shape == after.shape


VICTIM = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from activeindex.runtime.reporting import Progress
from tests.activation.test_folder import run
from tests.runtime.reporters import Showing

class KillAt(Progress):
    def __init__(self, count):
        self.left = count
    def advance(self, items=1, **shown):
        self.left -= items
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

run(Path(sys.argv[2]), Path(sys.argv[3]), reporter=Showing(KillAt(int(sys.argv[4]))))
"""


def test_a_killed_run_ends_with_the_files_of_an_undisturbed_one(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, *[f"{number:02d}.png" for number in range(40)])
    run(tmp_path / "in", tmp_path / "whole")
    for image in (21, 40):  # Each before it is committed.
        command = [sys.executable, "-c", VICTIM, str(ROOT), str(tmp_path / "in")]
        killed = subprocess.run([*command, str(tmp_path / "out"), str(image)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "out" / RECORDS_FILE).exists()
    done = run(tmp_path / "in", tmp_path / "out")
    assert (done.count, done.before) == (40, 39)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_finished_run_is_not_repeated(tmp_path: Path, photographs: dict[str, Pixels]) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.png")
    first = run(tmp_path / "in", tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert run(tmp_path / "in", tmp_path / "out") == replace(first, before=2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


def as_release_0_1_left(note: dict[str, Any]) -> None:
    """Takes out of a note, or the first line of a journal, what release 0.1 did not know."""
    del note["noise"]
    note["settings"]["code_views"] = note["settings"].pop("descriptor_views")


def test_a_folder_that_release_0_1_finished_is_done(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.png")
    first = run(tmp_path / "in", tmp_path / "out")
    note = tmp_path / "out" / "activation.json"
    noted = json.loads(note.read_text())
    as_release_0_1_left(noted)
    note.write_text(json.dumps(noted))
    assert run(tmp_path / "in", tmp_path / "out") == replace(first, before=2)


def test_a_folder_that_release_0_1_has_begun_goes_on_with_noise_seeded_by_number(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, *[f"{number:02d}.png" for number in range(24)])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out", reporter=Showing(Stop()))
    journal = tmp_path / "out" / ".activation.journal"
    first, *steps = journal.read_text().splitlines(keepends=True)
    begun = json.loads(first)
    as_release_0_1_left(begun["identity"])
    journal.write_text(json.dumps(begun) + "\n" + "".join(steps))
    assert run(tmp_path / "in", tmp_path / "out").before == 20
    image = to_tensor(read_pixels(tmp_path / "in" / "23.png"))
    asked = (LinearExtractor(), linear_quantiser(), FEW)
    expected = activate_pictures([image], *asked, numbers=[23]).images[0].data
    assert (tmp_path / "out" / "23.png").read_bytes() == expected


def test_a_picture_gets_the_same_file_whatever_lies_beside_it(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.png", "c.png")
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "alone").mkdir()
    (tmp_path / "in" / "c.png").rename(tmp_path / "alone" / "x.png")
    run(tmp_path / "alone", tmp_path / "released")
    found = (tmp_path / "released" / "x.png").read_bytes()
    assert found == (tmp_path / "out" / "c.png").read_bytes()


def test_what_was_activated_before_an_unreadable_file_is_kept(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.png", "d.png")
    (tmp_path / "in" / "c.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"c\.png"):
        run(tmp_path / "in", tmp_path / "out")
    done = run(tmp_path / "in", tmp_path / "out", unreadable="skip")
    assert (done.count, done.before, len(done.skipped)) == (3, 2, 1)


def test_a_run_that_skipped_every_file_is_finished(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    for _ in range(2):
        done = run(tmp_path / "in", tmp_path / "out", unreadable="skip")
        assert (done.count, len(done.skipped)) == (0, 1)


def test_a_released_image_that_was_lost_since_is_named(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.png")
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"out/b\.png: .*, found an empty file; delete .*on\.json"):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "a.png").unlink()
    with pytest.raises(InputError, match=r"out/a\.png: .*, found nothing; delete "):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "activation.json").unlink()
    assert run(tmp_path / "in", tmp_path / "out").count == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "holds results with seed=0, this command has seed=1"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, photographs: dict[str, Pixels], options: dict[str, Any], message: str
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match=message):
        run(tmp_path / "in", tmp_path / "out", **options)
    with pytest.raises(InputError, match=r"holds results with iterations=2, this .* iterations=10"):
        activate_folder(
            tmp_path / "in", tmp_path / "out", linear_quantiser(), LinearExtractor(), preset="paper"
        )


def test_added_images_are_not_mixed_into_an_old_run(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    run(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in", photographs, "a.png", "b.png")
    with pytest.raises(InputError, match=r"out: holds results of other images, or of these befo"):
        run(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("engine", [None, LocalEngine(2, sharded=True)])
def test_a_damaged_image_is_refused_or_skipped_by_name(
    tmp_path: Path, photographs: dict[str, Pixels], engine: Engine | None
) -> None:
    put(tmp_path / "in", photographs, "a.png", "c.png")
    (tmp_path / "in" / "b.png").write_text("not an image")
    with pytest.raises(UnreadableImageError, match=r"b\.png: expected an image"):
        run(tmp_path / "in", tmp_path / "out", workers=engine)
    done = run(tmp_path / "in", tmp_path / "skipped", unreadable="skip", workers=engine)
    assert done.count == 2
    assert [line.split(":")[0] for line in done.skipped] == [str(tmp_path / "in" / "b.png")]
    assert [record["image"] for record in records(tmp_path / "skipped")] == [0, 2]


def test_a_damaged_image_may_be_the_first_one(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "b.png")
    (tmp_path / "in" / "a.png").write_text("not an image")
    with pytest.raises(UnreadableImageError, match=r"a\.png: expected an image"):
        run(tmp_path / "in", tmp_path / "out")
    done = run(tmp_path / "in", tmp_path / "skipped", unreadable="skip")
    assert (done.count, len(done.skipped)) == (1, 1)
    assert [record["image"] for record in records(tmp_path / "skipped")] == [1]


def test_workers_change_nothing(tmp_path: Path, photographs: dict[str, Pixels]) -> None:
    put(tmp_path / "in", photographs, "a.png", "b.jpg", "c.png")
    run(tmp_path / "in", tmp_path / "out")
    with LocalEngine(2) as workers:
        run(tmp_path / "in", tmp_path / "other", workers=workers)
    assert files(tmp_path / "out") == files(tmp_path / "other")


@pytest.mark.parametrize("output", [".", "activated"])
def test_images_are_not_written_among_the_originals(
    tmp_path: Path, photographs: dict[str, Pixels], output: str
) -> None:
    put(tmp_path, photographs, "a.png")
    with pytest.raises(
        InputError, match=r"^output folder .*: expected one outside the images' folder "
    ):
        run(tmp_path, tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def identified(name: str) -> Quantiser:
    """The quantiser of the linear extractor, under a name."""
    index = train_faiss(linear_features(200), "IVF4,PQ4x4np", "L2")
    return Quantiser(index, QuantiserIdentity(name, hashlib.sha256(name.encode()).hexdigest()))


def test_what_was_activated_for_one_index_is_refused_for_another(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    extractor, first, second = LinearExtractor(), identified("first"), identified("second")
    once, twice = tmp_path / "once", tmp_path / "twice"
    activate_folder(tmp_path / "in", once, first, extractor, preset=ASKED)
    with pytest.raises(InputError) as caught:
        activate_folder(once, twice, second, extractor, preset=ASKED)
    assert str(caught.value) == (
        f"{once / RECORDS_FILE}: a.png was activated for the quantiser {first.identity}, expected "
        f"{second.identity}; --force goes on nevertheless"
    )
    assert not twice.exists()
    with pytest.raises(InputError, match=r"through the extractor linear .* 32 px, .* at 48 px; "):
        check_released(once, first, LinearExtractor(input_size=48))
    check_released(once, first, extractor)
    activate_folder(once, twice, second, extractor, preset=ASKED, force=True)
    assert [record["quantiser"]["name"] for record in records(twice)] == ["second"]


def test_what_was_activated_for_two_indexes_is_taken_for_either(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    extractor, first, second = LinearExtractor(), identified("first"), identified("second")
    activate_folder(tmp_path / "in", tmp_path / "both", [first, second], extractor, preset=ASKED)
    record = records(tmp_path / "both")[0]
    assert (record["quantiser"]["name"], record["also"][0]["quantiser"]["name"]) == (
        "first",
        "second",
    )
    for either in (first, second):
        check_released(tmp_path / "both", either, extractor)
    with pytest.raises(InputError, match=r"for the quantiser first .* and second .*, expected thi"):
        check_released(tmp_path / "both", identified("third"), extractor)


def test_another_extractor_is_refused_where_the_quantiser_is_not_known(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    activate_folder(
        tmp_path / "in", tmp_path / "out", linear_quantiser(), LinearExtractor(), preset=ASKED
    )
    check_released(tmp_path / "out", linear_quantiser(), LinearExtractor())
    with pytest.raises(InputError, match=r"through the extractor linear .* 32 px, .* at 48 px; "):
        check_released(tmp_path / "out", linear_quantiser(), LinearExtractor(input_size=48))


def test_images_without_records_are_taken(tmp_path: Path) -> None:
    check_released(tmp_path, identified("first"), LinearExtractor())


def test_every_file_keeps_the_budget(tmp_path: Path, photographs: dict[str, Pixels]) -> None:
    put(tmp_path / "in", photographs, *[f"{number}.png" for number in range(7)])
    for form in (FileFormat("png"), FileFormat("jpeg", 98), FileFormat("webp", 98)):
        release = ReleaseSettings(form, Budget(psnr=36.0, linf=30))
        out = tmp_path / form.name
        assert run(tmp_path / "in", out, release=release).count == 7
        for record in records(out):
            before = read_pixels(tmp_path / "in" / record["name"])
            found = measure_quality(before, read_pixels(out / record["output"]))
            assert found == Quality(**{key: record[key] for key in ("psnr", "ssim", "linf")})
            assert record["budget"] == release.budget.as_json()
            assert record["budget_met"] == (found.psnr >= 36 and found.linf <= 30)
            assert record["budget_met"] or form.name == "webp"
            assert (record["format"], record["quality"]) == (form.name, form.quality)
            assert Path(record["output"]).suffix == form.suffix


def test_an_image_whose_budget_cannot_be_met_is_named_and_not_activated(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    put(tmp_path / "in", photographs, "a.png")
    release = ReleaseSettings(FileFormat("jpeg", 20), Budget(psnr=50.0))
    done = run(tmp_path / "in", tmp_path / "out", release=release)
    assert len(done.warnings) == 1
    assert done.warnings[0].startswith(
        f"{tmp_path / 'in' / 'a.png'}: not activated, since jpeg at quality 20 alone breaks the "
        "budget psnr >= 50.0 (PSNR "
    )
    record = records(tmp_path / "out")[0]
    assert (record["budget_met"], record["passes"]) == (False, 0)
    assert record["psnr"] < 50
    again = run(tmp_path / "in", tmp_path / "out", release=release)
    assert again.warnings == done.warnings


def test_transparency_greyness_exif_and_profile_survive(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    (tmp_path / "in").mkdir()
    piece = Image.fromarray(photographs["astronaut"][100:150, 100:160])
    alpha = Image.linear_gradient("L").resize(piece.size)
    exif = piece.getexif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "Ada"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    piece.convert("L").save(tmp_path / "in" / "grey.jpg")
    piece.save(tmp_path / "in" / "turned.jpg", exif=exif, icc_profile=profile)
    piece.putalpha(alpha)
    piece.save(tmp_path / "in" / "alpha.png")
    run(tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "grey.png") as grey:
        assert grey.mode == "L"
    with Image.open(tmp_path / "out" / "alpha.png") as seen:
        assert np.array_equal(np.asarray(seen)[..., 3], np.asarray(alpha))
    with Image.open(tmp_path / "out" / "turned.png") as turned:
        assert turned.size == (50, 60)
        assert turned.getexif()[ExifTags.Base.Orientation] == 1
        assert turned.getexif()[ExifTags.Base.Artist] == "Ada"
        assert turned.info["icc_profile"] == profile
    for record in records(tmp_path / "out"):
        assert record["distance_after"] < record["distance_before"]

    jpeg = run(tmp_path / "in", tmp_path / "jpeg", release=ReleaseSettings(FileFormat("jpeg")))
    source = tmp_path / "in" / "alpha.png"
    assert jpeg.warnings == (f"{source}: composed on white, since jpeg holds no alpha",)
