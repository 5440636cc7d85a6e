import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from activeindex.edits.assets import assets_folder, fonts
from activeindex.edits.glyphs import drawable_characters, load_font, random_text
from activeindex.errors import InputError, MissingExtraError


def font(name: str) -> Path:
    return assets_folder() / "fonts" / name


def test_a_latin_font_draws_letters_but_no_blanks() -> None:
    characters = drawable_characters(font("OpenSans-Regular.ttf"))
    assert set("AZaz09!?€é") <= set(characters)
    assert not set(" \n\t\u00a0\u200b") & set(characters)
    assert "\u4e2d" not in characters  # a Chinese character, which the font lacks


def test_fonts_of_other_scripts_draw_their_own_script() -> None:
    # U+12000 ff. lie beyond 16 bits.
    assert "\U00012000" in drawable_characters(font("NotoSansCuneiform-Regular.ttf"))


@pytest.mark.parametrize("path", fonts()[::30], ids=lambda path: path.name)
def test_no_character_is_drawn_as_the_box_for_missing_ones(path: Path) -> None:
    large = load_font(path, 40)
    box = large.getmask("\U0010fffe")
    for character in drawable_characters(path)[:300]:
        mask = large.getmask(character)
        assert mask.getbbox() is not None
        assert (mask.size, bytes(mask)) != (box.size, bytes(box))


def test_random_text_is_of_the_font_and_repeats_with_the_seed() -> None:
    path = font("Lobster_1.3.ttf")
    text = random_text(path, 12, np.random.default_rng(3))
    assert len(text) == 12
    assert set(text) <= set(drawable_characters(path))
    assert text == random_text(path, 12, np.random.default_rng(3))
    assert text != random_text(path, 12, np.random.default_rng(4))


def test_other_files_are_no_fonts(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_text("not a font")
    with pytest.raises(InputError, match=r"a\.ttf: expected a TrueType font"):
        load_font(tmp_path / "a.ttf", 10)


def missing_module(name: str) -> Callable[[str], ModuleType]:
    def import_module(_: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return import_module


def test_without_fonttools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    drawable_characters.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing_module("fontTools"))
    with pytest.raises(MissingExtraError, match=r"fonttools.*activeindex\[edits\]"):
        drawable_characters(font("Lobster_1.3.ttf"))


def test_a_broken_fonttools_shows_its_own_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    drawable_characters.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing_module("fontTools.misc.py23"))
    with pytest.raises(ModuleNotFoundError, match=r"fontTools\.misc"):
        drawable_characters(font("Lobster_1.3.ttf"))


def test_a_character_mapped_to_the_box_for_missing_ones_is_not_drawn(tmp_path: Path) -> None:
    font_tools = importlib.import_module("fontTools.ttLib")
    with font_tools.TTFont(font("OpenSans-Regular.ttf")) as tables:
        for table in tables["cmap"].tables:
            table.cmap[ord("Q")] = ".notdef"
        tables.save(tmp_path / "changed.ttf")
    characters = drawable_characters(tmp_path / "changed.ttf")
    assert "P" in characters
    assert "Q" not in characters
