import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from activeindex.edits import assets
from activeindex.edits.overlays import overlay_emoji
from activeindex.edits.texts import meme_format
from activeindex.errors import InputError, MissingExtraError

from .images import RED, plain

CACHED = (
    assets.assets_folder,
    assets.fonts,
    assets.emojis,
    assets.screenshot_templates,
    assets.screenshot_template,
)


@pytest.fixture
def fresh_caches() -> Iterator[None]:
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


def test_finds_fonts_emoji_and_templates() -> None:
    assert len(assets.fonts()) == 364
    assert {path.suffix for path in assets.fonts()} == {".ttf"}
    assert len(assets.emojis()) == 872
    assert assets.screenshot_templates() == ("mobile", "web")


def test_template_boxes_are_those_of_the_file() -> None:
    template = assets.screenshot_template("mobile")
    file = assets.assets_folder() / "screenshot_templates" / "bboxes.json"
    assert list(template.box) == json.loads(file.read_text())["mobile.png"]
    assert template.image().size == template.size == (414, 736)
    assert template.box_size == (362, 278)


def test_a_template_cannot_be_drawn_upon() -> None:
    assets.screenshot_template("web").image().paste(RED, (0, 0, 1200, 736))
    assert assets.screenshot_template("web").image().getpixel((5, 5)) != RED


def test_refuses_unknown_templates() -> None:
    with pytest.raises(InputError, match="expected one of mobile, web, found tablet"):
        assets.screenshot_template("tablet")


def test_editing_runs_without_augly_torch_or_pickle_files() -> None:
    program = """
import builtins, io, sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from PIL import Image
from activeindex.edits.edited import edit_generator
from activeindex.edits.lists import FIXED_LIST, OFFERED
image = Image.effect_noise((200, 200), 50).convert("RGB")
for number in range(30):
    FIXED_LIST[1](image, edit_generator(0, number))
for edit in (*FIXED_LIST, *OFFERED):
    edit(image, edit_generator(0, 0))
assert any(path.endswith(".ttf") for path in opened)
assert not any(path.endswith(".pkl") for path in opened)
for name in ("augly", "torch", "scipy", "cv2"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("fresh_caches")
def test_without_augly_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (assets.fonts, assets.emojis, lambda: meme_format(plain(RED, 99, 99))):
        with pytest.raises(MissingExtraError, match=r'augly.*pip install "activeindex\[edits\]"'):
            call()


@pytest.mark.usefixtures("fresh_caches")
def test_an_installation_without_its_assets_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "augly").mkdir()
    (tmp_path / "augly" / "__init__.py").write_text("raise RuntimeError('was imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(InputError, match="expected the assets of augly"):
        assets.fonts()
    (tmp_path / "augly" / "assets" / "fonts").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected the files \*\.ttf"):
        assets.fonts()


def test_own_emoji_need_no_package(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (0, 0, 255, 255)).save(tmp_path / "blue.png")
    edited = overlay_emoji(plain(RED, 20, 20), tmp_path / "blue.png", x=0, y=0, height=0.5)
    assert edited.getpixel((5, 5)) == (0, 0, 255)
