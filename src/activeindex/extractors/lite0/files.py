"""Descriptors on disk: float16 weights and metadata in a .safetensors file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from activeindex.errors import InputError, library_errors
from activeindex.extractors.adapt import NetworkExtractor
from activeindex.extractors.lite0.descriptor import Descriptor
from activeindex.extractors.lite0.trunk import MEAN, STD
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import whole_file


@dataclass(frozen=True)
class DescriptorFile:
    """Metadata of a descriptor's file.

    Attributes:
        name: Name of the extractor.
        input_size: Side in pixels of the square images that it was made for.
        provenance: Origin of the weights, in words.
    """

    name: str
    input_size: int
    provenance: str


def write_descriptor(path: Path, network: Descriptor, about: DescriptorFile) -> None:
    """Write a folded descriptor in float16, whole or not at all.

    Raises:
        InputError: If the descriptor is not folded, or a weight is beyond the range of float16.
        OutputError: If the file cannot be written.
    """
    if not network.trunk.folded:
        raise InputError(f"{path}: expected a folded descriptor, found one with batch norms")
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in network.state_dict().items()
    }
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: expected weights within float16, found others in {name}")
    metadata = {key: str(value) for key, value in asdict(about).items()}
    with whole_file(path) as beside:
        beside.write_bytes(_in_order(save(weights, metadata)))


def _in_order(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in any order.

    The bytes are those of the extractor's identity, so equal weights give equal bytes.
    """
    header = _header(data)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = written.ljust(-(-len(written) // 8) * 8)  # The weights start at a multiple of 8.
    start = 8 + int.from_bytes(data[:8], "little")
    return len(padded).to_bytes(8, "little") + padded + data[start:]


def _header(data: bytes) -> dict[str, Any]:
    """Return what a safetensors file says about its tensors and itself."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def read_descriptor(path: Path, data: bytes) -> tuple[Descriptor, DescriptorFile]:
    """Read a file of :func:`write_descriptor`; the weights become float32.

    Args:
        path: The file, for messages.
        data: Its content.

    Raises:
        InputError: If the file is something else.
    """
    with library_errors(f"{path}: expected a descriptor in safetensors"):
        weights = {name: value.float() for name, value in load(data).items()}
        found = _header(data).get("__metadata__", {})
    expected = "expected a folded descriptor of EfficientNet-Lite0, found other weights"
    with library_errors(f"{path}: {expected}"):
        about = DescriptorFile(found["name"], int(found["input_size"]), found["provenance"])
        network = Descriptor(len(weights["head.bias"]), folded=True)
        network.load_state_dict(weights)
    return network.eval(), about


def load_lite0(
    path: Path, data: bytes, sha256: str, input_size: int | None = None
) -> NetworkExtractor:
    """Load a descriptor as an extractor.

    Args:
        path: A file of :func:`write_descriptor`, for messages.
        data: Its content.
        sha256: Its hash.
        input_size: Side in pixels of the square images; by default what the file says.

    Raises:
        InputError: If the file is something else.
    """
    network, about = read_descriptor(path, data)
    size = about.input_size if input_size is None else input_size
    return NetworkExtractor(network, ExtractorIdentity(about.name, sha256, size), MEAN, STD)
