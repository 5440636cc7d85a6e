"""Addresses of stores, and the engine of each."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activeindex.errors import InputError
from activeindex.runtime.files import read_json

if TYPE_CHECKING:
    from activeindex.stores.generation import Generation

STORE_FILE = "store.json"
"""File that makes a folder a store."""

_ADDRESS = re.compile(r"(?P<engine>faiss|lance):(//)?(?P<path>[^/].*|/[^/].*)")


@dataclass(frozen=True)
class Address:
    """Engine and folder of a store.

    Attributes:
        engine: ``faiss`` or ``lance``.
        path: The folder.
    """

    engine: str
    path: Path

    @classmethod
    def parse(cls, text: str | os.PathLike[str], create: bool = False) -> "Address":
        """Read ``lance://PATH`` or ``faiss:PATH``, with or without the slashes, or a plain path.

        Args:
            text: The address. A plain path stands for the store that is there.
            create: A plain path without a store is that of a new one, of the engine ``faiss``.

        Raises:
            InputError: If it is no address of a store.

        Example:
            >>> Address.parse("lance:///data/released").path.as_posix()
            '/data/released'
        """
        text = os.fspath(text)
        if match := _ADDRESS.fullmatch(text):
            return cls(match["engine"], Path(match["path"]))
        note = Path(text) / STORE_FILE
        engine = read_json(note).get("engine") if note.is_file() else create and "faiss"
        if (
            not isinstance(engine, str)
            or engine not in ("faiss", "lance")
            or re.match(r"\w+:", text)
        ):
            raise InputError(
                f"store: expected lance://PATH or faiss:PATH, found {text!r}, which is no folder "
                "of a store"
            )
        return cls(engine, Path(text))

    def __str__(self) -> str:
        slashes = "//" if self.engine == "lance" else ""
        return f"{self.engine}:{slashes}{self.path}"

    def check_there(self) -> Path:
        """Return the path of ``store.json``.

        Raises:
            InputError: If there is no store.
        """
        path = self.path / STORE_FILE
        if not path.is_file():
            raise InputError(f"{self}: expected a store, found no {STORE_FILE} there")
        return path

    @property
    def generation_class(self) -> type["Generation"]:
        """Class of the engine; its module is imported when it is first used."""
        if self.engine == "lance":
            from activeindex.stores.lance.generation import LanceGeneration

            return LanceGeneration
        from activeindex.stores.faiss.generation import FaissGeneration

        return FaissGeneration
