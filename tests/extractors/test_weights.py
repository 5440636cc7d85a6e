"""Weights of named models: from their first use on, with and without a network."""

import hashlib
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from activeindex.errors import InputError
from activeindex.extractors.cards import CARDS, ModelCard
from activeindex.extractors.named import load_extractor
from activeindex.extractors.weights import cached_path
from tests.extractors.file_server import FileServer, left_in, one_line


class Means(nn.Module):
    """The mean of each channel, times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.weight


def torchscript(folder: Path, weight: float) -> bytes:
    path = folder / f"{weight}.torchscript.pt"
    torch.jit.save(torch.jit.script(Means(weight)), str(path))
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a user's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def tiny(
    server: FileServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelCard:
    """A named model whose weights the server has."""
    server.body = torchscript(tmp_path, 2.0)
    return named(monkeypatch, f"{server.address}/models/tiny.torchscript.pt")


def named(monkeypatch: pytest.MonkeyPatch, address: str) -> ModelCard:
    card = ModelCard("tiny", "means", 3, address, "MIT", input_size=32)
    monkeypatch.setitem(CARDS, card.name, card)
    return card


def test_a_named_model_is_downloaded_at_its_first_use_and_never_again(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    grey = torch.full((1, 3, 32, 32), 0.5)
    first = load_extractor("tiny")
    assert (first.dimension, first.identity.name) == (3, "tiny")
    assert first.identity.sha256 == hashlib.sha256(server.body).hexdigest()
    expected = [2 * (0.5 - m) / s for m, s in zip(tiny.mean, tiny.std, strict=True)]
    assert torch.allclose(first(grey), torch.tensor([expected]), atol=1e-5)
    again = load_extractor("tiny")
    assert torch.equal(again(grey), first(grey))
    assert [request["path"] for request in server.requests] == ["/models/tiny.torchscript.pt"]
    assert left_in(cache) == ["tiny.torchscript.pt", "tiny.torchscript.pt.json"]
    assert cached_path(tiny).read_bytes() == server.body


def test_a_file_that_changes_after_first_sight_is_refused_until_the_user_accepts_it(
    server: FileServer, tiny: ModelCard, tmp_path: Path
) -> None:
    first = load_extractor("tiny").identity.sha256
    cached_path(tiny).write_bytes(torchscript(tmp_path, 3.0))
    second = hashlib.sha256(cached_path(tiny).read_bytes()).hexdigest()
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            load_extractor("tiny")
        assert first in one_line(caught)
        assert second in one_line(caught)
    record = cached_path(tiny).with_name("tiny.torchscript.pt.json")
    assert str(record) in one_line(caught)
    record.unlink()
    assert load_extractor("tiny").identity.sha256 == second


def test_a_file_that_the_server_has_changed_is_refused_after_a_second_download(
    server: FileServer, tiny: ModelCard, tmp_path: Path
) -> None:
    first = load_extractor("tiny").identity.sha256
    cached_path(tiny).unlink()
    server.body = torchscript(tmp_path, 3.0)
    with pytest.raises(InputError, match=f"expected the SHA-256 {first}"):
        load_extractor("tiny")


def test_weights_of_a_package_have_a_pinned_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = CARDS["lite0_copy"]
    whole = load_extractor("lite0_copy")
    assert whole.identity.sha256 == card.packaged_sha256
    monkeypatch.setitem(CARDS, card.name, replace(card, packaged_sha256="0" * 64))
    with pytest.raises(InputError, match=r"expected the SHA-256 0{64} of lite0_copy, found 05f294"):
        load_extractor("lite0_copy")


def test_a_file_put_there_by_hand_needs_no_server(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    cache.mkdir(parents=True)
    cached_path(tiny).write_bytes(server.body)
    assert load_extractor("tiny").dimension == 3
    assert not server.requests
    recorded = json.loads((cache / "tiny.torchscript.pt.json").read_text())
    assert recorded["sha256"] == hashlib.sha256(server.body).hexdigest()


@pytest.mark.parametrize(
    "address", ["https://nowhere.invalid/models/tiny.torchscript.pt", "closed port"]
)
def test_offline_the_error_says_at_once_where_to_put_the_file_by_hand(
    address: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address == "closed port":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        address = f"http://127.0.0.1:{port}/tiny.torchscript.pt"
    card = named(monkeypatch, address)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_extractor("tiny")
    assert time.monotonic() - started < 5
    message = one_line(caught)
    assert message.startswith("tiny: its weights are not on this machine, and ")
    assert f"{address}: cannot be reached (" in message
    assert f"by hand: put {address} at {cached_path(card)} " in message
    assert left_in(cache) == []


def test_a_page_instead_of_the_weights_is_refused(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    page = b"<!DOCTYPE html><title>Log in to this network</title>"
    server.answer = lambda request: (200, {"Content-Type": "text/html"}, page)
    with pytest.raises(InputError, match=r"found text/html that begins with b'<!DOCTYPE html>"):
        load_extractor("tiny")
    assert left_in(cache) == []


def test_an_empty_answer_is_not_taken_for_the_weights(
    server: FileServer, tiny: ModelCard, cache: Path
) -> None:
    server.body = b""
    with pytest.raises(
        InputError, match=r"file, a zip archive, found text/plain that begins with b''; by hand"
    ):
        load_extractor("tiny")
    assert left_in(cache) == []
