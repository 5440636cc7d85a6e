"""What tells quantisers apart."""

from dataclasses import dataclass

from activeindex.errors import InputError


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


def check_extractors(
    where: object,
    expected: str | None,
    found: str | None,
    dimensions: tuple[int, int] | None = None,
) -> None:
    """Checks that features come from the extractor of what they are for, if both are known.

    Args:
        where: The index or the store.
        expected: Its extractor, as it introduces itself.
        found: That of the features.
        dimensions: Of the former's features and the latter's; equal if they are not given.

    Raises:
        InputError: If they are different extractors.
    """
    if None in (expected, found) or expected == found:
        return
    wanted, there = f"features of {expected}", f"features of {found}"
    if dimensions is None or dimensions[0] == dimensions[1]:
        # Only where they fit: what has other dimensions no force can go on with.
        there += "; --force goes on nevertheless"
    else:
        wanted += f", of dimension {dimensions[0]}"
        there += f", of dimension {dimensions[1]}"
    raise InputError(f"{where}: expected {wanted}, found {there}")
