"""The output folder of a run, of this program or of the released one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from activeindex.errors import InputError
from activeindex.evaluation.comparison import HitTable
from activeindex.evaluation.copy_detection import ScoredPairs
from activeindex.evaluation.csv_files import RetrievalColumns, read_detection
from activeindex.identity import ExtractorIdentity
from activeindex.runtime.files import read_json

if TYPE_CHECKING:
    from activeindex.indexing.training import Metric

RETRIEVAL_FILE = "retr_df.csv"
DETECTION_FILE = "icd_df.csv"
RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        path: The folder.
        notes: The contents of ``run.json``, empty for a run of another program.
    """

    path: Path
    notes: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder.

        Raises:
            InputError: If there are neither results nor notes, or ``run.json`` is malformed.
        """
        # A run that only released its images has notes alone.
        known = (RETRIEVAL_FILE, DETECTION_FILE, RUN_FILE)
        if not any((path / file).exists() for file in known):
            raise InputError(
                f"{path}: expected the results of a run ({RETRIEVAL_FILE} or {DETECTION_FILE}), or "
                f"its notes ({RUN_FILE}), found none"
            )
        notes = path / RUN_FILE
        return cls(path, read_json(notes) if notes.exists() else {})

    @property
    def has_retrieval(self) -> bool:
        """True if there is a ``retr_df.csv``."""
        return (self.path / RETRIEVAL_FILE).exists()

    @property
    def has_detection(self) -> bool:
        """True if there is an ``icd_df.csv``."""
        return (self.path / DETECTION_FILE).exists()

    def setting(self, *names: str) -> Any:
        """A setting by its path, e.g. ``("index", "quant")``; None if it is not noted."""
        value: Any = self.notes.get("settings")
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def extractor(self) -> ExtractorIdentity | None:
        """The extractor that was used; None if it is not noted."""
        return ExtractorIdentity.from_json(self.notes.get("extractor"))

    @property
    def metric(self) -> "Metric":
        """The metric of the index; L2, the default, if it is not noted."""
        return "IP" if self.setting("index", "quant") == "IP" else "L2"

    @property
    def references(self) -> int | None:
        """Number of references, the id of the first original; None if it is not noted."""
        count = self.notes.get("references")
        return count if isinstance(count, int) else None

    def hit_table(self) -> HitTable:
        """Hits at rank 1 of ``retr_df.csv``, by edit and by number of the image in the set.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        path = self.path / RETRIEVAL_FILE
        columns = RetrievalColumns.read(path)
        if not columns.edits:
            raise InputError(f"{path}: expected at least one row, found none")
        return HitTable.from_columns(columns, self.references or 0)

    def ranked_pairs(self) -> ScoredPairs:
        """The scored pairs of ``icd_df.csv``.

        Raises:
            InputError: If the file is malformed or holds no row.
        """
        path = self.path / DETECTION_FILE
        pairs = ScoredPairs.from_rows(read_detection(path), self.metric, self.references or 0)
        if not len(pairs.originals):
            raise InputError(f"{path}: expected at least one row, found none")
        return pairs
