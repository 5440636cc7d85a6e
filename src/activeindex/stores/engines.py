"""Addresses of stores, and the engine that each asks for."""

import re
from dataclasses import dataclass
from pathlib import Path

from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.generation import Generation

_ADDRESS = re.compile(r"(?P<engine>faiss|lance):(//)?(?P<path>[^/].*|/[^/].*)")


@dataclass(frozen=True)
class Address:
    """Where a store is, and what keeps it.

    Attributes:
        engine: ``faiss`` or ``lance``.
        path: Its folder.
    """

    engine: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads ``lance://PATH`` or ``faiss:PATH``; with or without the slashes.

        Raises:
            InputError: If it is neither.

        >>> Address.parse("lance:///data/released").path.as_posix()
        '/data/released'
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise InputError(f"store: expected lance://PATH or faiss:PATH, found {text!r}")
        return cls(match["engine"], Path(match["path"]))

    def __str__(self) -> str:
        slashes = "//" if self.engine == "lance" else ""
        return f"{self.engine}:{slashes}{self.path}"

    def generation(self, folder: Path, trained: TrainedIndex) -> Generation:
        """Opens, or makes, a generation.

        Raises:
            InputError: If the engine cannot use the index.
            MissingExtraError: If the engine is not installed.
        """
        if self.engine == "lance":
            from activeindex.stores.lance.generation import LanceGeneration

            return LanceGeneration(folder, trained)
        from activeindex.stores.faiss.generation import FaissGeneration

        return FaissGeneration(folder, trained)

    def check(self, trained: TrainedIndex) -> None:
        """Checks that the engine is there and can use an index, before anything is written.

        Raises:
            InputError: If it cannot use the index.
            MissingExtraError: If it is not installed.
        """
        if self.engine == "lance":
            from activeindex.stores.lance.model import LanceModel, lance_library

            lance_library()
            LanceModel.of(trained)
        else:
            from activeindex.stores.faiss.codes import CodeIndex

            CodeIndex(trained)
