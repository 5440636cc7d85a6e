"""The bank of edited views."""

from pathlib import Path

import numpy as np
import pytest

from activeindex.errors import InputError
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images
from activeindex.runtime.pool import LocalEngine
from training import views
from training.views import BankSettings, build_bank

SETTINGS = BankSettings(views=2, size=48)


def test_the_bank_does_not_depend_on_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    alone = build_bank(folder, tmp_path / "alone.npy", SETTINGS, limit=8)
    with LocalEngine(2) as workers:
        shared = build_bank(folder, tmp_path / "shared.npy", SETTINGS, workers, limit=8)
    assert alone.shape == (8, 3, 3, 48, 48)
    assert np.array_equal(alone, shared)
    # A later image's views do not depend on those before it either.
    assert not np.array_equal(alone[0], alone[1])


def test_slot_0_is_the_image_and_the_others_are_edited(folder: Path, tmp_path: Path) -> None:
    bank = build_bank(folder, tmp_path / "bank.npy", BankSettings(views=2, size=96), limit=4)
    for row, path in zip(bank, list_images(folder), strict=False):
        assert np.array_equal(row[0].transpose(1, 2, 0), np.asarray(read_rgb(path)))
        assert not np.array_equal(row[1], row[0])
        assert not np.array_equal(row[1], row[2])


def test_an_interrupted_bank_goes_on_and_a_finished_one_is_not_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_bank(folder, tmp_path / "whole.npy", SETTINGS, limit=5)
    made: list[int] = []
    usual = views.views_of

    def broken(path: Path, number: int, settings: BankSettings) -> views.Bank:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(number)
        return usual(path, number, settings)

    monkeypatch.setattr(views, "views_of", broken)
    with pytest.raises(KeyboardInterrupt):
        build_bank(folder, tmp_path / "bank.npy", SETTINGS, limit=5)
    assert not (tmp_path / "bank.npy").exists()
    monkeypatch.setattr(views, "views_of", usual)
    bank = build_bank(folder, tmp_path / "bank.npy", SETTINGS, limit=5)
    assert made == [0, 1]
    assert np.array_equal(bank, whole)
    monkeypatch.setattr(views, "views_of", broken)  # It would raise now.
    assert np.array_equal(build_bank(folder, tmp_path / "bank.npy", SETTINGS, limit=5), whole)
    with pytest.raises(KeyboardInterrupt):
        build_bank(folder, tmp_path / "bank.npy", BankSettings(views=2, size=48, seed=1), limit=5)


def test_a_bank_of_no_views_is_refused() -> None:
    with pytest.raises(InputError, match=r"^views: expected 1 or more, found 0$"):
        BankSettings(views=0)
