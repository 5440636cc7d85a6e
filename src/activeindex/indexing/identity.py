"""What tells quantisers apart."""

from dataclasses import dataclass


@dataclass(frozen=True)
class QuantiserIdentity:
    """What makes two quantisers the same one: codes of different ones never compare.

    Attributes:
        name: Factory string and metric, or the name of a file that comes without a manifest.
        sha256: Hash of the FAISS file.
    """

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"
