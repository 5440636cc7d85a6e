"""Whitening behind an extractor."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from activeindex.errors import InputError, ShapeError
from activeindex.extractors.base import Extractor
from activeindex.extractors.features import features_of
from activeindex.extractors.named import load_extractor
from activeindex.extractors.whitening import WhitenedExtractor, Whitening
from activeindex.identity import ExtractorIdentity
from activeindex.images.levels import Pixels, resize_square, to_tensor

OTHER = ExtractorIdentity("someone else", 64 * "0", 288)
Array = npt.NDArray[np.float32]


def correlated(count: int, width: int) -> Array:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(width, width)) * np.logspace(0, -2, width)
    values = generator.normal(size=(count, width)) @ mixing.T + 3
    return values.astype(np.float32)


def test_projections_of_the_training_features_have_unit_variance_and_do_not_correlate() -> None:
    features = correlated(4000, 12)
    whitening = Whitening.fit(features, 5)
    out = (features - whitening.mean) @ whitening.matrix.T
    assert np.allclose(np.cov(out.T), np.eye(5), atol=0.01)
    # The first direction is the one of the largest variance.
    largest = np.linalg.eigvalsh(np.cov(features.T))[-1]
    assert np.isclose(1 / np.linalg.norm(whitening.matrix[0]) ** 2, largest, rtol=0.01)


def test_directions_without_variance_do_not_blow_up() -> None:
    features = correlated(100, 4)
    features[:, 2] = 7
    assert np.isfinite(Whitening.fit(features).matrix).all()


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    whitening = Whitening.fit(correlated(50, 6), 3, extractor=OTHER, training_sha256="y")
    path = tmp_path / "whitening.npz"
    whitening.write(path)
    found = Whitening.read(path)
    assert np.array_equal(found.mean, whitening.mean)
    assert np.array_equal(found.matrix, whitening.matrix)
    assert (found.extractor, found.training_sha256) == (OTHER, "y")
    assert found.sha256 == whitening.sha256


def test_what_is_no_whitening_is_refused(tmp_path: Path) -> None:
    text, pickled = tmp_path / "text.npz", tmp_path / "pickled.npz"
    text.write_text("not a whitening")
    np.savez(pickled, mean=np.array([print], dtype=object))
    for path in (text, pickled):
        with pytest.raises(InputError, match=f"^whitening {path}: expected a file of activeindex"):
            Whitening.read(path)
    shapes = tmp_path / "shapes.npz"
    np.savez(
        shapes,
        mean=np.zeros(3, np.float32),
        matrix=np.zeros((2, 4), np.float32),
        extractor=np.array(""),
        training_sha256=np.array(""),
    )
    with pytest.raises(InputError, match=r"found float32 \(3,\) and float32 \(2, 4\)$"):
        Whitening.read(shapes)
    with pytest.raises(InputError, match=r"expected a name that ends in \.npz$"):
        Whitening.fit(correlated(50, 6)).write(tmp_path / "whitening.bin")


def test_too_few_features_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected more than 8 training features, found 8$"):
        Whitening.fit(correlated(8, 8))
    with pytest.raises(InputError, match=r"^dimension: expected 1 to 8, found 9$"):
        Whitening.fit(correlated(20, 8), 9)
    with pytest.raises(ShapeError):
        Whitening.fit(np.zeros(8, np.float32))


def test_a_whitened_extractor_is_another_one_and_gradients_pass_it(
    small_sscd: Extractor, photographs: dict[str, Pixels]
) -> None:
    images = torch.stack([resize_square(to_tensor(p), 96) for p in photographs.values()])
    features = features_of(small_sscd, torch.cat([images, images.flip(3)]))
    whitening = Whitening.fit(features, 4, extractor=small_sscd.identity)
    extractor = WhitenedExtractor(small_sscd, whitening)
    assert extractor.dimension == 4
    assert extractor.identity != small_sscd.identity
    expected = (features_of(small_sscd, images) - whitening.mean) @ whitening.matrix.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(features_of(extractor, images), expected, atol=1e-5)
    image = images[:1].clone().requires_grad_()
    extractor(image)[0, 0].backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_a_whitening_of_another_extractor_is_refused_with_both_names(
    small_sscd: Extractor,
) -> None:
    other = Whitening.fit(correlated(600, 512), 8, extractor=OTHER)
    with pytest.raises(InputError, match=r"fitted for sscd_disc_mixup .* found one for someone"):
        WhitenedExtractor(small_sscd, other)
    narrow = Whitening.fit(correlated(50, 6))
    with pytest.raises(InputError, match=r"features of dimension 512, found dimension 6$"):
        WhitenedExtractor(small_sscd, narrow)


def test_the_file_stands_behind_a_loaded_extractor(tmp_path: Path, small_sscd: Extractor) -> None:
    path = tmp_path / "whitening.npz"
    Whitening.fit(correlated(600, 512), 16, extractor=small_sscd.identity).write(path)
    assert load_extractor("sscd_disc_mixup", 96, whitening=path).dimension == 16
