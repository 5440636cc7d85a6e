"""The log of a run, one JSON object a line."""

import json
from pathlib import Path
from typing import Any

from activeindex.runtime.files import write_text


class Log:
    """Log of records, each of which has its ``step``.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> list[dict[str, Any]]:
        """Return all complete records; a kill may have cut the last one short."""
        if not self._path.is_file():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def cut(self, step: int) -> None:
        """Remove the records after ``step``, from which a run goes on."""
        kept = [record for record in self.records() if record["step"] <= step]
        write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write(self, record: dict[str, Any]) -> None:
        """Append a record."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def first(self, key: str) -> Any:
        """Return the first value of ``key``, or None."""
        return next((record[key] for record in self.records() if key in record), None)
