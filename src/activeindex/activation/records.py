"""What is noted of every activated image, and what the notes are good for."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activeindex.activation.release import ReleaseSettings
from activeindex.activation.results import ActivatedImage
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError
from activeindex.extractors import Extractor
from activeindex.indexing import Quantiser, QuantiserIdentity
from activeindex.running.files import file_hash

RECORDS_FILE = "activation.jsonl"


@dataclass(frozen=True)
class Recorder:
    """Makes the records of a run.

    Attributes:
        quantisers: Where images are aimed at.
        extractor: Through which.
        settings: How.
        release: In what files, within what budget.
        seed: Of the noise.
    """

    quantisers: tuple[Quantiser, ...]
    extractor: Extractor
    settings: ActivationSettings
    release: ReleaseSettings
    seed: int

    def record(
        self,
        image: ActivatedImage,
        number: int,
        source: tuple[str, Path],
        output: tuple[str, Path] | None,
    ) -> bytes:
        """The record of one activated image, a line of JSON.

        Args:
            image: What activation gave.
            number: The image's number, which seeds its noise together with the seed.
            source: Name and path of the original.
            output: Name and path of the released file; None if it was not kept.

        Of several indexes the first one's aim is in the record itself, the others' in ``also``.
        """
        first, *others = [
            {
                "code": aim.code.hex(),
                "distance_before": aim.distance_before,
                "distance_after": aim.distance_after,
                "quantiser": quantiser.identity and asdict(quantiser.identity),
            }
            for quantiser, aim in zip(self.quantisers, image.aims, strict=True)
        ]
        record = {
            "image": number,
            "name": source[0],
            "sha256": file_hash(source[1]),
            "output": output and output[0],
            "output_sha256": output and file_hash(output[1]),
            "format": self.release.format.name,
            "quality": self.release.format.quality,
            **asdict(image.quality),
            "budget": asdict(self.release.budget),
            "budget_met": image.budget_met,
            "passes": image.passes,
            **first,
            "also": others,
            "extractor": asdict(self.extractor.identity),
            "settings": asdict(self.settings),
            "seed": self.seed,
        }
        return record_json(record).encode() + b"\n"


def record_json(record: Mapping[str, Any]) -> str:
    """A record as JSON, which has no infinity: of an unchanged image the PSNR is null."""
    return json.dumps(without_infinity(record))


def without_infinity(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record with null for the PSNR of an unchanged image, as JSON has it."""
    return {**record, "psnr": None} if record.get("psnr") == math.inf else record


def was_changed(record: Mapping[str, Any]) -> bool:
    """Whether an image was activated: neither only encoded, nor left as it was by its budget.

    What the codec of a lossy format does to an image counts as a change.
    """
    return not (was_only_encoded(record) or is_unchanged(record))


def was_only_encoded(record: Mapping[str, Any]) -> bool:
    """Whether an image was not activated, since its format alone breaks the budget."""
    return record.get("budget_met") is False


def is_unchanged(record: Mapping[str, Any]) -> bool:
    """Whether the budget left every pixel as it was."""
    return record.get("psnr", 0.0) in (None, math.inf)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of an ``activation.jsonl``, line by line; a PSNR of null is infinity again.

    Raises:
        InputError: If a line is not a JSON object.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise InputError(f"{path}, line {number}: expected a record of an activated image")
            if record.get("psnr", 0) is None:
                record["psnr"] = math.inf
            yield record


def check_released(folder: Path, quantiser: Quantiser, extractor: Extractor) -> None:
    """Checks that images which are activated already were activated for this index.

    Args:
        folder: Images; their records, if there are any, lie beside them (or beside ``imgs``).
        quantiser: Of the index that is about to be searched or aimed at; one that images were
            activated for among others will do.
        extractor: The extractor in use.

    Raises:
        InputError: If a record names another quantiser or another extractor.
    """
    beside = folder.parent if folder.name == "imgs" else folder
    path = beside / RECORDS_FILE
    if not path.is_file():
        return
    for record in read_records(path):
        aims = [record, *record.get("also", [])]
        recorded = [aim["quantiser"] for aim in aims if aim.get("quantiser")]
        if not recorded or quantiser.identity is None:
            continue
        here = quantiser.identity
        if here.sha256 not in [each["sha256"] for each in recorded]:
            found = " and ".join(str(QuantiserIdentity(**each)) for each in recorded)
            _refuse(path, record, "for the quantiser", found, str(here))
        weights = record["extractor"]
        if weights != asdict(extractor.identity):
            was = f"{weights['name']} ({weights['sha256'][:12]}) at {weights['input_size']} px"
            _refuse(path, record, "through the extractor", was, str(extractor.identity))


def _refuse(path: Path, record: dict[str, Any], what: str, found: str, here: str) -> None:
    raise InputError(
        f"{path}: {record.get('name')} was activated {what} {found}, expected {here}; "
        "--force goes on nevertheless"
    )
