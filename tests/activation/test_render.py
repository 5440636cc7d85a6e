"""Budgets hold for the file that is released, whatever the distortion was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from activeindex.activation.render import Original, ReleasedFile, Renderer, write
from activeindex.activation.settings import PAPER, PRESETS, Budget, ReleaseSettings
from activeindex.errors import InputError
from activeindex.images.encoding import write_bytes
from activeindex.images.formats import FORMATS, FileFormat
from activeindex.images.levels import Pixels, resize_square, resized, to_tensor
from activeindex.images.picture import Picture, read_picture
from activeindex.images.quality import measure_quality

SIZE = 64


def piece(photographs: dict[str, Pixels], number: int = 0) -> Pixels:
    pixels = photographs[list(photographs)[number % len(photographs)]]
    return np.ascontiguousarray(pixels[60 : 60 + SIZE, 40 : 40 + SIZE])


def noise(strength: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return strength * torch.randn(1, 3, SIZE, SIZE, generator=generator)


def released(picture: Picture, distortion: torch.Tensor, form: FileFormat, **bounds: Any) -> Any:
    original = Original.of(picture, ReleaseSettings(form, Budget(**bounds)))
    return written(original, distortion)


def written(original: Original, distortion: torch.Tensor) -> ReleasedFile:
    """The file with as much of a distortion in pixel units as the budget allows."""
    mask = torch.ones(1, 1, *distortion.shape[2:])
    return write(original, distortion, mask, distortion.square().mean().item())


budgets = st.builds(
    Budget,
    psnr=st.none() | st.floats(30, 60),
    ssim=st.none() | st.floats(0.8, 0.999),
    linf=st.none() | st.integers(1, 40),
)


@settings(max_examples=40)
@given(
    number=st.integers(0, 6),
    name=st.sampled_from(FORMATS),
    quality=st.integers(60, 100),
    budget=budgets,
    strength=st.floats(0.001, 0.3),
    transparent=st.booleans(),
)
def test_a_budget_holds_for_the_file_on_disk_or_the_record_says_that_it_does_not(
    tmp_path_factory: pytest.TempPathFactory,
    photographs: dict[str, Pixels],
    number: int,
    name: Any,
    quality: int,
    budget: Budget,
    strength: float,
    transparent: bool,
) -> None:
    pixels = piece(photographs, number)
    alpha = np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)
    picture = Picture(pixels, alpha if transparent else None)
    form = FileFormat(name, None if name == "png" else quality)
    original = Original.of(picture, ReleaseSettings(form, budget))
    file = written(original, noise(strength, number))
    path = tmp_path_factory.mktemp("released") / f"a{form.suffix}"
    write_bytes(path, file.data)
    seen = read_picture(path).pixels
    assert np.array_equal(seen, file.pixels)
    found = measure_quality(picture.pixels, seen)
    assert found == file.quality
    kept = (
        (budget.psnr is None or found.psnr >= budget.psnr)
        and (budget.ssim is None or found.ssim >= budget.ssim)
        and (budget.linf is None or found.linf <= budget.linf)
    )
    assert file.budget_met == kept
    assert kept or not form.lossless


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("psnr", [36.0, 42.0])
def test_a_budget_is_used_up(photographs: dict[str, Pixels], name: Any, psnr: float) -> None:
    form = FileFormat(name, None if name == "png" else 100)
    for number in (0, 1, 2):
        file = released(Picture(piece(photographs, number)), noise(0.1), form, psnr=psnr)
        # WebP's chroma alone loses so much of some photographs.
        assert psnr <= file.quality.psnr < psnr + 0.2 or not file.budget_met


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bounds", [{}, {"psnr": 41.0}, {"psnr": 38.0, "ssim": 0.95, "linf": 9}])
def test_files_do_not_depend_on_those_written_beside_them(
    photographs: dict[str, Pixels], preset: str, name: Any, bounds: Any
) -> None:
    form = FileFormat(name, None if name == "png" else 95)
    opaque = [Picture(piece(photographs, number), grey=number == 2) for number in range(4)]
    alpha = np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)
    small = Picture(np.ascontiguousarray(piece(photographs, 5)[:12, :30]))
    pictures = [*opaque, Picture(piece(photographs, 4), alpha), small]
    release = ReleaseSettings(form, Budget(**bounds))
    originals = [Original.of(picture, release) for picture in pictures]

    def files(numbers: list[int]) -> list[ReleasedFile]:
        generators = [torch.Generator().manual_seed(number) for number in numbers]
        chosen = [originals[number] for number in numbers]
        render = Renderer(chosen, generators, PRESETS[preset].settings, SIZE // 2)
        with torch.no_grad():
            for free in render.free:
                free *= 1e6  # As large as after some steps.
        return render.write()

    together = files(list(range(len(pictures))))
    for number, file in enumerate(together):
        (alone,) = files([number])
        assert file.data == alone.data
        assert file.quality == alone.quality
        assert file.quality.linf > 1 or not file.budget_met


def test_a_budget_never_enlarges_a_distortion(photographs: dict[str, Pixels]) -> None:
    picture = Picture(piece(photographs))
    free = released(picture, noise(0.01), FileFormat("png"))
    loose = released(picture, noise(0.01), FileFormat("png"), psnr=20.0)
    assert np.array_equal(free.pixels, loose.pixels)
    assert free.quality.psnr > 38


def test_what_the_codec_alone_loses_is_released_unactivated_and_said(
    photographs: dict[str, Pixels],
) -> None:
    picture, form = Picture(piece(photographs)), FileFormat("jpeg", 30)
    file = released(picture, noise(0.05), form, psnr=45.0)
    assert not file.budget_met
    assert np.array_equal(file.pixels, released(picture, noise(0.0), form).pixels)


@pytest.mark.parametrize("bounds", [{"psnr": 40.0}, {"ssim": 0.97}, {"linf": 6}])
@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_a_budget_beyond_the_codec_is_for_what_activation_adds(
    photographs: dict[str, Pixels], name: Any, bounds: Any
) -> None:
    picture, form = Picture(piece(photographs)), FileFormat(name, 60)
    assert not released(picture, noise(0.05), form, **bounds).budget_met
    file = released(picture, noise(0.05), form, beyond_codec=True, **bounds)
    lost = released(picture, noise(0.0), form).quality
    assert file.budget_met
    assert file.quality.psnr < lost.psnr
    if "psnr" in bounds:
        error = 10 ** (-lost.psnr / 10) + 1e-4
        assert file.quality.psnr == pytest.approx(-10 * np.log10(error), abs=0.1)
    if "ssim" in bounds:
        assert file.quality.ssim == pytest.approx(lost.ssim - 0.03, abs=0.01)
    if "linf" in bounds:
        assert file.quality.linf <= lost.linf + 6


def test_grey_pictures_stay_grey(photographs: dict[str, Pixels]) -> None:
    levels = piece(photographs)[..., :1].repeat(3, axis=2)
    for one_channel in (True, False):
        picture = Picture(levels, grey=True, one_channel=one_channel)
        file = released(picture, noise(0.05), FileFormat("png"))
        assert file.quality.linf > 3
        assert np.ptp(file.pixels.astype(int), axis=2).max() == 0


def test_opacity_and_the_colours_of_what_is_not_seen_stay(
    tmp_path: Path, photographs: dict[str, Pixels]
) -> None:
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:40] = 0, 90
    picture = Picture(piece(photographs), alpha)
    write_bytes(tmp_path / "a.png", released(picture, noise(0.05), FileFormat("png")).data)
    found = np.asarray(Image.open(tmp_path / "a.png"))
    assert np.array_equal(found[..., 3], alpha)
    assert np.array_equal(found[:, :20, :3], picture.layer[:, :20])
    assert np.abs(found[:, 20:, :3].astype(int) - picture.layer[:, 20:]).max() > 3


def test_jpeg_is_composed_on_white(photographs: dict[str, Pixels]) -> None:
    picture = Picture(piece(photographs), np.full((SIZE, SIZE), 128, np.uint8))
    file = released(picture, noise(0.0), FileFormat("jpeg", 100))
    assert measure_quality(picture.pixels, file.pixels).psnr > 40


@pytest.mark.parametrize("full_size", [True, False])
@pytest.mark.parametrize("shape", [(64, 64), (64, 12)])
def test_the_optimisation_sees_what_will_be_written(
    photographs: dict[str, Pixels], full_size: bool, shape: tuple[int, int]
) -> None:
    """The same within rounding, also of a picture that is narrower than the extractor's input."""
    pixels = np.ascontiguousarray(piece(photographs)[: shape[0], : shape[1]])
    picture = Picture(pixels, np.full(shape, 200, np.uint8))
    original = Original.of(picture, ReleaseSettings(budget=Budget(psnr=47.0)))
    settings = PAPER.replace(full_size=full_size)
    render = Renderer([original], [torch.Generator().manual_seed(0)], settings, 32)
    (free,) = render.free
    with torch.no_grad():
        coarse = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        free += resized(coarse, (free.shape[2], free.shape[3]))
    squares, _ = render()
    (file,) = render.write()
    assert 47.0 <= file.quality.psnr < 47.1
    before, after = (resize_square(to_tensor(each), 32) for each in (picture.pixels, file.pixels))
    error = (squares[0] - after).square().mean()
    assert error < 0.1 * (after - before).square().mean()
    (squares * squares.detach()).sum().backward()  # type: ignore[no-untyped-call]
    assert free.grad is not None
    assert free.grad.isfinite().all()
    assert free.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"psnr": 0.0}, r"^psnr: expected a positive number of dB, found 0.0$"),
        ({"psnr": 1e30}, r"^psnr: expected at most 200 dB, found 1e\+30$"),
        ({"psnr": float("nan")}, r"^psnr: expected a positive number of dB, found nan$"),
        ({"ssim": 1.0}, r"^ssim: expected a number between 0 and 1, found 1.0$"),
        ({"linf": 0}, r"^linf: expected 1 to 255 levels, found 0$"),
    ],
)
def test_bounds_out_of_range_are_refused(bounds: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Budget(**bounds)
