"""Mutated files of every kind end in an exit code of the list and at most one line.

Mutations are seeded. ``ACTIVEINDEX_LONG=1`` tries 40 times as many; ``docs/reliability.md`` counts.
"""

import argparse
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from PIL import ExifTags, Image
from PIL.ImageCms import ImageCmsProfile, createProfile

import activeindex as ai
from activeindex.activation.records import RECORDS_FILE
from activeindex.decisions.calibrate import Edited, calibrate
from activeindex.extractors.feature_files import ImageFeatures
from activeindex.identity import ExtractorIdentity
from activeindex.indexing.artefact import INDEX_FILE, load_or_train
from activeindex.stores.ingest import NewImages
from activeindex.stores.store import Store
from tests.extractors.programs import images as probes
from tests.indexing.trained import features

LONG = os.environ.get("ACTIVEINDEX_LONG") == "1"
SECONDS = 600.0
"""Longest wait for one input; a child ends itself after 60 s of CPU time."""

NUMBER = re.compile(rb"-?\d+(\.\d+)?|true|false|null|\"[^\"]*\"")
ODD = (b"NaN", b"[" * 5000, b"1e999", b"\\ud800", b'"', b"(", b"-1", b"null", b"0" * 5000)

FILTER = "(psnr >= 40.5 AND name LIKE 'a''b%') OR NOT id IN (1, 2) OR 'x' IN tags OR ssim IS NULL"
V0_1 = Path(__file__).parents[1] / "fixtures" / "v0_1"


def of_pictures(folder: Path) -> Iterator[Path]:
    values = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    picture = Image.fromarray(values)
    exif, profile = Image.Exif(), ImageCmsProfile(createProfile("sRGB")).tobytes()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "somebody"
    tagged = {"exif": exif, "icc_profile": profile}
    for suffix in ("png", "jpg", "webp", "tiff", "avif", "gif", "bmp", "ppm", "jp2"):
        options = tagged if suffix in ("png", "jpg", "webp", "tiff", "avif") else {}
        picture.save(folder / f"a.{suffix}", **options)  # type: ignore[arg-type]
        yield folder / f"a.{suffix}"
    frames = {"save_all": True, "append_images": [picture.rotate(180)]}
    for suffix in ("apng", "gif", "tiff", "webp"):
        picture.save(folder / f"frames.{suffix}", "PNG" if suffix == "apng" else None, **frames)
        yield folder / f"frames.{suffix}"
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    yield folder / "cmyk.jpg"
    for mode in ("1", "L", "LA", "P", "I;16", "F"):
        name = f"{mode}.{'tiff' if mode == 'F' else 'png'}".replace(";", "")
        grey = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
        share = Image.fromarray(values[..., 0].astype(np.float32) / 255)
        drawn = {"I;16": grey, "F": share}.get(mode) or picture.convert(mode)
        drawn.save(folder / name)
        yield folder / name


def of_features(folder: Path) -> Iterator[Path]:
    values = features(20, 8)
    np.save(folder / "fts.npy", values)
    torch.save(torch.from_numpy(values), folder / "fts.pt")
    yield from (folder / "fts.npy", folder / "fts.pt")
    yield copied(folder, "fts_references")


def of_indexes(folder: Path) -> Iterator[Path]:
    for number, factory in enumerate(("IVF4,PQ4x4np", "OPQ4_8,IVF4,PQ4x4np", "Flat", "PQ4x4np")):
        load_or_train(folder / str(number), ImageFeatures(features(400, 8)), factory, "L2")
        # Beside its manifest it is refused by its hash.
        shutil.copyfile(folder / str(number) / INDEX_FILE, folder / f"{number}.faiss")
        yield from (folder / f"{number}.faiss", folder / str(number))


def of_stores(folder: Path) -> Iterator[Path]:
    index = load_or_train(folder / "q", ImageFeatures(features(400, 8)), "IVF4,PQ4np", "L2")
    names = [f"{number}.png" for number in range(40)]
    records = {name: {"name": name, "psnr": 40.0, "sha256": "0" * 64} for name in names[::2]}
    for engine in ("faiss:", "lance://"):
        path = folder / engine.strip(":/")
        with Store.create(f"{engine}{path}", index) as store:
            store.add(NewImages(names, features(40, 8), records), tags=[["a"]] * 40)
        yield path
    yield copied(folder, "store_faiss")


def of_extractors(folder: Path) -> Iterator[Path]:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    torch.jit.trace(network, probes(1)).save(folder / "net.pt")  # type: ignore[no-untyped-call]
    torch.onnx.export(network, (probes(1),), folder / "net.onnx", dynamo=False)
    yield from (folder / "net.pt", folder / "net.onnx")
    (folder / "apart").mkdir()
    onnx.save_model(
        onnx.load(folder / "net.onnx"),
        folder / "apart" / "net.onnx",
        save_as_external_data=True,
        location="net.onnx.data",
        size_threshold=0,
    )
    yield folder / "apart"


def of_checkpoints(folder: Path) -> Iterator[Path]:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    weights = network.state_dict()
    options = argparse.Namespace(lr=0.1)
    distributed = {f"module.{key}": value for key, value in weights.items()}
    for wrapped in ({"model": weights, "args": options, "epoch": 3}, {"state_dict": distributed}):
        torch.save(wrapped, folder / f"{len(wrapped)}.pth")
        yield folder / f"{len(wrapped)}.pth"
    safetensors.torch.save_file(weights, folder / "a.safetensors")
    yield folder / "a.safetensors"


def of_calibrations(folder: Path) -> Iterator[Path]:
    index = ai.train_index(features(400, 8), "IVF4,PQ4x4np")
    copies = Edited(features(200, 8, 1) + 0.01, np.arange(200))
    extractor = ExtractorIdentity("features", "0" * 64, 32)
    calibrate(index, extractor, features(200, 8, 1), copies, stored=100).save(folder / "c")
    yield folder / "c"


def of_texts(folder: Path, name: str, text: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def of_records(folder: Path) -> Iterator[Path]:
    record = {"name": "a.png", "sha256": "0" * 64, "psnr": 40.0, "code": "00", "also": []}
    record |= {"quantiser": {"name": "q", "sha256": "1" * 64}, "settings": {"iterations": 3}}
    record |= {"distance_before": 1.0, "distance_after": 0.5}
    yield of_texts(folder, RECORDS_FILE, f"{json.dumps(record)}\n" * 2)


def copied(folder: Path, name: str) -> Path:
    """Copy what release 0.1 has written: its formats have no checksums."""
    there = shutil.copytree(V0_1 / name, folder / name)
    for path in there.rglob("*.png"):  # Pictures have their own reader.
        path.unlink()
    return there


def of_runs(folder: Path) -> Iterator[Path]:
    yield from (copied(folder, "run_active"), copied(folder, "run_passive"))


def of_journals(folder: Path) -> Iterator[Path]:
    yield from (copied(folder, "released_unfinished"), copied(folder, "run_active_unfinished"))
    yield copied(folder, "released")


def one_text(name: str, text: str) -> Callable[[Path], Iterator[Path]]:
    return lambda folder: iter([of_texts(folder, name, text)])


TRUTH = "query_id,reference_id\nQ00001,R000007\nQ00002,\nQ00003,R000009\n"
PREDICTIONS = "query_id,reference_id,score\nQ00001,R000007,-0.25\nQ00002,R000009,-1e-3\n"
ANSWER = {
    "query": "a/Q00001.jpg",
    "neighbours": [{"name": "R000007.png", "distance": 0.25}, {"name": "b.png", "distance": 1.5}],
}

READERS: dict[str, tuple[Callable[[Path], Iterator[Path]], int]] = {
    "picture": (of_pictures, 100),
    "features": (of_features, 40),
    "index": (of_indexes, 60),
    "store": (of_stores, 40),
    "extractor": (of_extractors, 30),
    "checkpoint": (of_checkpoints, 30),
    "whitening": (lambda folder: iter([Path(shutil.copy(V0_1 / "whitening.npz", folder))]), 20),
    "calibration": (of_calibrations, 40),
    "records": (of_records, 60),
    "run": (of_runs, 100),
    "report": (of_runs, 10),
    "journal": (of_journals, 60),
    "truth": (one_text("truth.csv", TRUTH), 20),
    "ground truth": (one_text("dev_queries_groundtruth.csv", TRUTH), 20),
    "predictions": (one_text("predictions.csv", PREDICTIONS), 20),
    "answers": (one_text("answers.jsonl", f"{json.dumps(ANSWER)}\n" * 2), 40),
    "names": (one_text("filenames.txt", "a.png\nb.png\n"), 20),
    "filter": (one_text("filter.txt", FILTER), 300),
}
"""Files that are mutated, for each reader, and how many mutations the short form tries."""


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Data with some bytes flipped, cut, repeated, zeroed, inserted or replaced by odd values."""
    values = bytearray(data)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(0, len(values) + 1))
        size = int(min(random.choice([1, 4, 16, 256]), len(values) - at))
        match random.integers(0, 8):
            case 0 if at < len(values):
                values[at] ^= 1 << int(random.integers(0, 8))
            case 1:
                del values[at:]
            case 2:
                values[at : at + size] = bytes(size)
            case 3:
                values[at:at] = values[at : at + size]
            case 4:
                values[at : at + 4] = random.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff"])
            case 5:
                values[at:at] = ODD[random.integers(0, len(ODD))]
            case 6 if numbers := [*NUMBER.finditer(values)]:  # Another number of a text.
                found = numbers[random.integers(0, len(numbers))]
                values[found.start() : found.end()] = ODD[random.integers(0, len(ODD))]
            case _:
                values[at : at + size] = random.bytes(size)
    return bytes(values)


class Child:
    """A child that is started again after it was killed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, reader: str, path: Path) -> tuple[int | str, str]:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.reading"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([reader, str(path)]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            process.kill()
            code = process.wait()
            self.process = None
            return (f"signal {-code}" if ready else "no answer"), ""
        answer: tuple[int | str, str] = tuple(json.loads(line))
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


def mutations(folder: Path, reader: str) -> Iterator[tuple[str, Path]]:
    """Yield mutation after mutation of the files of a reader, each in place of the last."""
    make, count = READERS[reader]
    (folder / "seeds").mkdir()
    seeds = list(make(folder / "seeds"))
    for seed in seeds:
        yield f"{reader}, {seed.name} as it is", seed
    for number in range(count * (40 if LONG else 1)):
        random = np.random.default_rng([sum(map(ord, reader)), number])
        seed = seeds[number % len(seeds)]
        shutil.rmtree(folder / "now", ignore_errors=True)
        path = folder / "now" / seed.name
        path.parent.mkdir()
        if seed.is_dir():
            shutil.copytree(seed, path)
        else:
            shutil.copyfile(seed, path)
        files = sorted(each for each in path.rglob("*") if each.is_file()) or [path]
        file = files[random.integers(0, len(files))]
        file.write_bytes(mutated(file.read_bytes(), random))
        yield f"mutation {number} of {reader}, {file.relative_to(folder / 'now')}", path


@pytest.mark.parametrize("reader", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(
    child: Child, reader: str, tmp_path: Path
) -> None:
    faults: list[Any] = []
    for name, path in mutations(tmp_path, reader):
        code, printed = child.ask(reader, path)
        allowed = (0,) if name.endswith("as it is") else (0, 1, 2, 130)
        if code not in allowed or printed.count("\n") > 1:
            faults.append((name, code, printed[:300]))
    assert not faults, "\n".join(map(str, faults))
