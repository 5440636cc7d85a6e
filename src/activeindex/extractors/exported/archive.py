"""The zip archive of a ``.pt2`` file: raw tensors and the JSON text of the program."""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from activeindex.errors import InputError, reason_of
from activeindex.runtime.files import check_file

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""PyTorch's ScalarType, as the archive numbers it."""

_SCHEMA = 8
"""Major version of the schema of the program, PyTorch 2.6 to 2.13."""


@dataclass(frozen=True)
class Archive:
    """What a ``.pt2`` file holds.

    Attributes:
        program: The JSON object of the program.
        weights: Parameters and buffers by name.
        constants: Tensors that the program contains, by name.
    """

    program: dict[str, Any]
    weights: dict[str, torch.Tensor]
    constants: dict[str, torch.Tensor]


def read_archive(path: Path) -> Archive:
    """Reads a ``.pt2`` file without unpickling anything.

    Raises:
        InputError: If the file is another kind of archive, of another version, or keeps something
            in pickled or compiled form.
    """
    check_file(path, "model_path")
    expected = f"{path}: expected a program saved by torch.export.save, found"
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(path, archive).read()
    except InputError:
        raise
    except zipfile.BadZipFile:
        raise InputError(f"{expected} no zip archive") from None
    except Exception as error:  # The reader meets broken bytes with errors of a dozen types.
        raise InputError(f"{expected} a broken one ({reason_of(error)})") from None


class _Reader:
    """Reads one archive.

    Args:
        path: For the messages.
        archive: The open file.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        # All names begin with a folder that is named as the file was when it was saved.
        self._names = {name.partition("/")[2]: name for name in archive.namelist()}

    def read(self) -> Archive:
        models = [name for name in self._names if name.startswith("models/")]
        if "archive_format" not in self._names or self._bytes("archive_format") != b"pt2":
            if "serialized_exported_program.json" in self._archive.namelist():
                self._refuse("one saved by PyTorch before 2.8; save it again")
            self._refuse("another zip archive")
        if self._bytes("archive_version") != b"0" or self._bytes("byteorder") != b"little":
            self._refuse("an archive of another version or byte order")
        if models != ["models/model.json"]:
            if any(name.startswith("data/aotinductor/") for name in self._names):
                self._refuse("one compiled by AOTInductor, which has no gradient")
            self._refuse(f"one with {len(models)} models")
        program = self._json("models/model.json")
        schema = program["schema_version"]["major"]
        if schema != _SCHEMA:
            self._refuse(f"schema version {schema} (known here: {_SCHEMA})")
        return Archive(program, self._tensors("weights"), self._tensors("constants"))

    def _refuse(self, found: str) -> None:
        raise InputError(
            f"{self._path}: expected a program saved by torch.export.save, found {found}"
        )

    def _bytes(self, name: str) -> bytes:
        info = self._archive.getinfo(self._names[name])
        if info.compress_type != zipfile.ZIP_STORED:
            self._refuse("a compressed archive")
        return self._archive.read(info)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._bytes(name))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise InputError(f"{self._path}: expected JSON in {name}, found something else")
        return value

    def _tensors(self, kind: str) -> dict[str, torch.Tensor]:
        """The tensors that ``model_{kind}_config.json`` lists."""
        listed = self._json(f"data/{kind}/model_{kind}_config.json")["config"]
        return {name: self._tensor(name, f"data/{kind}/", item) for name, item in listed.items()}

    def _tensor(self, name: str, folder: str, item: Mapping[str, Any]) -> torch.Tensor:
        if item["use_pickle"] or item["tensor_meta"] is None:
            self._refuse(f"one that keeps {name} in pickled form (it is not unpickled)")
        meta = item["tensor_meta"]
        dtype = DTYPES.get(meta["dtype"])
        if dtype is None:
            raise InputError(f"{self._path}: {name} is of a type that is not known here")
        size = [int(length["as_int"]) for length in meta["sizes"]]
        if math.prod(size) == 0:
            return torch.zeros(size, dtype=dtype)
        flat = torch.frombuffer(bytearray(self._bytes(folder + item["path_name"])), dtype=dtype)
        stride = [int(step["as_int"]) for step in meta["strides"]]
        # PyTorch checks that the view stays within the storage.
        return flat.as_strided(size, stride, int(meta["storage_offset"]["as_int"])).clone()
