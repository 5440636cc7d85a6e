"""timm and torchvision themselves, and a world in which nothing can be downloaded."""

import importlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _library(name: str) -> Any:
    if os.environ.get("ACTIVEINDEX_ZOO"):  # `make test-zoo`: its absence is a failure there.
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed; `make test-zoo` has it")


@pytest.fixture(scope="session")
def timm() -> Any:
    return _library("timm")


@pytest.fixture(scope="session")
def torchvision() -> Any:
    return _library("torchvision")


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every connection is refused, by a proxy that is not there; the (empty) cache is returned."""
    cache = tmp_path / "cache"
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(cache))
    urllib.request.install_opener(None)  # The proxies are read anew.
    yield cache
    urllib.request.install_opener(None)
