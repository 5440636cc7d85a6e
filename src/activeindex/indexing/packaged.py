"""The index that ships with the package, for features of the extractor that does.

A picture that one user activates for it is found by everyone who searches through it. ``training/``
makes it; docs/packaged_index.md says of what, on which terms, and how well it finds.
"""

from functools import cache
from pathlib import Path

from activeindex.errors import InputError
from activeindex.identity import ExtractorIdentity, same
from activeindex.indexing.artefact import TrainedIndex

FOLDER = Path(__file__).with_name("lite0_copy")
"""Its folder, named after its extractor; as of ``activeindex train_index``."""


@cache
def packaged_index() -> TrainedIndex:
    """Read the index of the package, once.

    Example:
        >>> index = packaged_index()
        >>> index.extractor.name, index.quantiser.code_size
        ('lite0_copy', 33)
    """
    return TrainedIndex.read(FOLDER)


def default_index(extractor: ExtractorIdentity) -> TrainedIndex:
    """Return the index of the package, for the features of an extractor.

    Raises:
        InputError: If it is for those of another one.
    """
    packaged = packaged_index()
    if not same(packaged.extractor, extractor):
        raise InputError(
            f"index: expected one for features of {extractor}, found none given; the package's is "
            f"for {packaged.extractor}; train one on such features (activeindex train_index, or "
            "ai.train_index) and give it as index"
        )
    return packaged
