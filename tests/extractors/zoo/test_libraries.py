"""What is said where a library is missing or broken."""

import sys
from pathlib import Path

import pytest

from activeindex.errors import InputError, MissingExtraError
from activeindex.extractors.named import load_extractor


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_missing_library_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError) as caught:
        load_extractor(f"{library}:resnet18")
    assert str(caught.value) == (
        f"a network of {library} needs the package {library}, which is not installed: "
        'pip install "activeindex[zoo]"'
    )


def test_a_library_built_for_another_torch_gives_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text(
        'raise RuntimeError("operator torchvision::nms does not exist\\nand more")'
    )
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        load_extractor("torchvision:resnet18")
    assert str(caught.value) == (
        "torchvision: installed, but it does not import (operator torchvision::nms does not exist)"
    )


def test_a_checkpoint_that_is_not_there_is_named_first(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.pth"
    with pytest.raises(InputError, match=f"^model_path {path}: expected a file, found nothing$"):
        load_extractor("timm:resnet18", model_path=path)
