"""Feature files from strangers: read as they are, or refused in one line."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activeindex.errors import InputError
from activeindex.extractors.feature_files import as_features, read_features

MATRIX = torch.arange(12.0).view(3, 4)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_features(path)
    text = str(caught.value)
    assert text.startswith(f"features {path}: expected ")
    assert "\n" not in text
    return text


def saved(folder: Path, value: Any, **options: Any) -> Path:
    path = folder / "fts.pt"
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: torch.randn(1, 1).expand(2**40, 32), "save an expanded tensor as tensor.contig"),
        (
            lambda: torch.ones(3).as_strided((100, 2), (0, 1)),
            "found 12 bytes for one of shape (100, 2)",
        ),
        (lambda: torch.zeros(3, 32, device="meta"), "found a meta (without values) one"),
        (lambda: torch.eye(4).to_sparse(), "found a sparse or nested one"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "sparse or nested"),
        (lambda: torch.quantize_per_tensor(MATRIX, 0.1, 0, torch.qint8), "found a quantised one"),
        (lambda: {"features": MATRIX}, "found a dict"),
        (lambda: MATRIX.long(), "a matrix (n, d) of floats, found int64"),
        (lambda: MATRIX.to(torch.complex64), "a matrix (n, d) of floats, found complex64"),
        (lambda: torch.zeros(3, 0), "a matrix (n, d) of floats, found float32 of shape (3, 0)"),
        (lambda: MATRIX * 1e25, "finite values, found 3e+25 (beyond 1e+15, squares overflow) in"),
        (lambda: MATRIX.double() * 1e60, "finite values, found NaN or infinity in row 0"),
    ],
)
def test_tensors_that_are_no_dense_features_are_refused(
    make: Callable[[], Any], found: str, tmp_path: Path
) -> None:
    assert found in refusal(saved(tmp_path, make()))


@pytest.mark.parametrize("zipped", [True, False])
def test_other_layouts_and_types_are_read_as_they_are(tmp_path: Path, zipped: bool) -> None:
    for value in (MATRIX.t().contiguous().t(), MATRIX.double(), MATRIX.bfloat16(), MATRIX[::2]):
        path = saved(tmp_path, value, _use_new_zipfile_serialization=zipped)
        assert np.array_equal(read_features(path).values, value.float().numpy())


def rewritten(path: Path, old: bytes, new: bytes) -> Path:
    """The file with its pickle changed, as a stranger may change it."""
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert old in data
                data = data.replace(old, new)
            target.writestr(entry, data)
    path.write_bytes(changed.getvalue())
    return path


def test_a_storage_that_reaches_beyond_its_record_is_refused(tmp_path: Path) -> None:
    shape, more = b"K\x03K\x04\x86", b"K\x03K\x08\x86"
    path = rewritten(saved(tmp_path, MATRIX), shape, more)
    refusal(path)
    # Mapped, a storage of 24 values reads on into the next record.
    path = rewritten(rewritten(saved(tmp_path, MATRIX), b"K\x0ct", b"K\x18t"), shape, more)
    assert "found 48 bytes for one of shape (3, 8)" in refusal(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_truncated_files_are_refused(tmp_path: Path, kept: float, suffix: str) -> None:
    path = saved(tmp_path, torch.randn(100, 8))
    if suffix == ".npy":
        path = tmp_path / "fts.npy"
        np.save(path, np.ones((100, 8), np.float32))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refusal(path)


def test_a_pickle_of_another_program_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "fts.pt").write_bytes(pickle.dumps([1.0], protocol=4))  # PyTorch warns of it.
    program = "import sys, activeindex as ai; ai.train_index(sys.argv[1], 'Flat')"
    command = [sys.executable, "-c", program, str(tmp_path / "fts.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Warning" not in done.stderr
    assert "expected one tensor saved by torch.save" in done.stderr


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    assert "other objects are not unpickled" in refusal(saved(tmp_path, torch.nn.Linear(2, 2)))
    path = tmp_path / "fts.npy"
    np.save(path, np.array([[print]]), allow_pickle=True)
    assert "expected a .npy matrix (" in refusal(path)


def test_matrices_in_memory_are_taken_whatever_their_strides_and_refused_alike() -> None:
    values = MATRIX.numpy()
    assert np.array_equal(as_features(values[::-1, ::-1], "features").values, values[::-1, ::-1])
    learnt = torch.ones(3, 4, requires_grad=True)
    assert np.array_equal(as_features(learnt, "features").values, np.ones((3, 4)))
    with pytest.raises(InputError, match=r"^features: expected a matrix \(n, d\) of numbers \("):
        as_features(torch.zeros(3, 4, device="meta"), "features")
    with pytest.raises(InputError, match=r"^features: expected finite values, found 3e\+25 \(bey"):
        as_features(values * 1e25, "features")


def noted(**changes: Any) -> str:
    """A note of extract_fts, with one field of the extractor changed."""
    extractor = {"name": "a", "sha256": "0" * 64, "input_size": 64}
    return json.dumps({"extractor": extractor | changes})


@pytest.mark.parametrize(
    ("note", "found"),
    [
        ("[" * 100_000, "a JSON object, found something else (nested too deeply)"),
        ("\xff", "a JSON object, found something else"),
        (noted(sha256=5), "extractor: expected its name, sha256 and input_size"),
        (noted(name=["a"]), "extractor: expected its name, sha256 and input_size"),
        (noted(input_size="big"), "extractor: expected its name, sha256 and input_size"),
        (
            noted()[:-1] + ', "descriptor_views": "a"}',
            "a whole number as descriptor_views, found",
        ),
    ],
)
def test_damaged_notes_are_refused(note: str, found: str, tmp_path: Path) -> None:
    path = saved(tmp_path, MATRIX)
    path.with_suffix(".json").write_text(note, encoding="latin-1")
    with pytest.raises(InputError) as caught:
        read_features(path)
    assert found in str(caught.value)
