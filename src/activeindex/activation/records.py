"""Records of activated images: the lines of ``activation.jsonl``, written and read."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from activeindex.activation.settings import MEASURES
from activeindex.errors import InputError
from activeindex.identity import ExtractorIdentity, QuantiserIdentity, same
from activeindex.runtime.fields import as_json
from activeindex.runtime.files import Types, check_types, read_json_lines

if TYPE_CHECKING:
    from activeindex.activation.activate import Activation
    from activeindex.activation.results import ActivatedImage
    from activeindex.activation.settings import ReleaseSettings
    from activeindex.extractors.base import Extractor
    from activeindex.indexing.quantiser import Quantiser

RECORDS_FILE = "activation.jsonl"
_TYPES: Types = {
    **dict.fromkeys(("name", "sha256", "output", "code"), str | NoneType),
    **dict.fromkeys(("psnr", "ssim", "linf", *MEASURES), int | float | NoneType),
    **dict.fromkeys(("distance_before", "distance_after"), int | float | NoneType),
    **{"settings": dict, "also": list},
}
_OF_AN_AIM = ("quantiser", "code", "distance_before", "distance_after")


def record(
    activation: "Activation",
    image: "ActivatedImage",
    number: int,
    source: tuple[str | None, str],
    output: str | None,
) -> dict[str, Any]:
    """Make the record of one activated image.

    Of several indexes the first one's outcome is in the record itself, the others' in ``also``.

    Args:
        activation: What it was activated for, and how.
        image: What activation gave.
        number: The image's number.
        source: Name and SHA-256 of the original.
        output: Name of the released file; None if it is not kept.
    """
    first, *others = [
        {
            "code": aim.code.hex(),
            "distance_before": aim.distance_before,
            "distance_after": aim.distance_after,
            "quantiser": quantiser.identity and quantiser.identity.as_json(),
        }
        for quantiser, aim in zip(activation.quantisers, image.aims, strict=True)
    ]
    return {
        "image": number,
        "name": source[0],
        "sha256": source[1],
        "output": output,
        "output_sha256": output and hashlib.sha256(image.data).hexdigest(),
        "format": activation.release.format.name,
        "quality": activation.release.format.quality,
        **{name: value for name, value in asdict(image.quality).items() if value is not None},
        "budget": activation.release.budget.as_json(),
        "budget_met": image.budget_met,
        **({"unchanged": why} if (why := unchanged_because(activation.release, image)) else {}),
        "passes": image.passes,
        **first,
        "also": others,
        "extractor": activation.extractor.identity.as_json(),
        "settings": as_json(activation.settings),
        "seed": activation.seed,
    }


def unchanged_because(release: "ReleaseSettings", image: "ActivatedImage") -> str | None:
    """Say why an optimised image was left as it was, where changes of it would be seen."""
    if image.passes and image.psnr == math.inf and release.budget.ssimulacra2 is not None:
        return f"no change keeps {release.budget}"
    return None


def record_json(record: Mapping[str, Any]) -> str:
    """Write a record as JSON, where the infinite PSNR of an unchanged image is null."""
    return json.dumps(without_infinity(record))


def without_infinity(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Copy a record with null for an infinite PSNR, as JSON has it."""
    return {**record, "psnr": None} if record.get("psnr") == math.inf else record


def was_changed(record: Mapping[str, Any]) -> bool:
    """Tell whether an image was activated: neither only encoded nor left as it was.

    The loss of a lossy codec counts as a change.
    """
    return not (was_only_encoded(record) or is_unchanged(record))


def was_only_encoded(record: Mapping[str, Any]) -> bool:
    """Tell whether an image was only encoded, since its format alone breaks the budget."""
    return record.get("budget_met") is False


def is_unchanged(record: Mapping[str, Any]) -> bool:
    """Tell whether the budget left every pixel as it was."""
    return record.get("psnr", 0.0) in (None, math.inf)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Read an ``activation.jsonl`` line by line; a PSNR of null is infinity again.

    Raises:
        InputError: If a line is not a JSON object.
    """
    for record in read_json_lines(path, "a record of an activated image"):
        check_types(str(path), record, _TYPES)
        if record.get("psnr", 0) is None:
            record["psnr"] = math.inf
        yield record


@dataclass(frozen=True)
class RecordedOutcome:
    """Outcome of an activation in one index, as recorded.

    Attributes:
        quantiser: The index.
        reached: The part of the record that is about it: ``quantiser``, ``code`` and distances.
    """

    quantiser: QuantiserIdentity
    reached: Mapping[str, Any]


def recorded_outcomes(path: Path, record: Mapping[str, Any]) -> list[RecordedOutcome]:
    """Read the indexes that an image was activated for; none if they were not known.

    Args:
        path: Where the record is from, for the message.
        record: As from :func:`read_records`.

    Raises:
        InputError: If the record says it in another way than this release.
    """
    aims = (record, *record.get("also", []))
    with _as_recorded(path, record, "quantiser, code and distances"):
        return [
            RecordedOutcome(
                QuantiserIdentity(**aim["quantiser"]), {key: aim[key] for key in _OF_AN_AIM}
            )
            for aim in aims
            if aim.get("quantiser")
        ]


def recorded_extractor(path: Path, record: Mapping[str, Any]) -> ExtractorIdentity | None:
    """Read the extractor of an activation; see :func:`recorded_outcomes`."""
    with _as_recorded(path, record, "extractor"):
        return ExtractorIdentity.from_json(record.get("extractor"), where=path)


@contextmanager
def _as_recorded(path: Path, record: Mapping[str, Any], part: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError):
        raise InputError(
            f"{path}: expected the record of {record.get('name')} to name its {part} as this "
            "release does, found something else"
        ) from None


def check_released(folder: Path, quantiser: "Quantiser", extractor: "Extractor") -> None:
    """Check that images in a folder are not activated for another index.

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
    here, through = quantiser.identity, extractor.identity
    for record in read_records(path):
        recorded = [aim.quantiser for aim in recorded_outcomes(path, record)]
        if recorded and not any(same(here, each) for each in recorded):
            _refuse(path, record, "for the quantiser", " and ".join(map(str, recorded)), str(here))
        weights = recorded_extractor(path, record)
        if not same(weights, through):
            _refuse(path, record, "through the extractor", str(weights), str(through))


def _refuse(path: Path, record: dict[str, Any], what: str, found: str, here: str) -> None:
    raise InputError(
        f"{path}: {record.get('name')} was activated {what} {found}, expected {here}; "
        "--force goes on nevertheless"
    )
