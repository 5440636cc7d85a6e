"""Provenance of a run: settings, versions, hashes, and the command that repeats it."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from activeindex.experiment.folder import RUN_FILE
from activeindex.identity import shown
from activeindex.report.runs import ReportedRun


@dataclass(frozen=True)
class Setting:
    """A line of the table of settings.

    Attributes:
        name: E.g. ``index.nprobe``.
        values: One per run, ``""`` where it is not noted.
        differs: True if the runs disagree.
    """

    name: str
    values: tuple[str, ...]
    differs: bool


def settings_of(runs: Sequence[ReportedRun]) -> list[Setting]:
    """Everything that the runs note, the settings in which they differ first."""
    flat = [dict(_flat("", _notes(run))) for run in runs]
    rows = {n: tuple(notes.get(n, "") for notes in flat) for notes in flat for n in notes}
    lines = [Setting(name, values, len({*values}) > 1) for name, values in rows.items()]
    return sorted(lines, key=lambda line: not line.differs)


def _notes(run: ReportedRun) -> dict[str, Any]:
    path = run.folder.path / RUN_FILE
    notes: dict[str, Any] = {key: shown(key, it, path) for key, it in run.folder.notes.items()}
    settings = notes.pop("settings", {})
    notes.pop("released", None)  # A path for each image.
    starts = [{k: v for k, v in start.items() if k != "command"} for start in run.starts]
    last = {"last start": starts[-1]} if starts else {}
    return {**settings, **notes, **last, **({"starts": len(starts)} if starts else {})}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


_PRESETS_OWN = frozenset({"release.budget.beyond_codec"})
"""Settings of presets that no option gives."""
_SEVERAL = frozenset({"index.fts_edited_path"})
"""Settings whose option takes several words."""


def command_of(run: ReportedRun) -> tuple[str, str] | None:
    """The command that repeats a run, and its origin; None without ``run.json``."""
    typed = [start["command"] for start in run.starts if start.get("command")]
    if typed:
        return str(typed[-1]), "as it was typed"
    settings = run.folder.notes.get("settings")
    if not isinstance(settings, dict) or "released_dir" in settings:  # A call of evaluate().
        return None
    options = dict(_flat("", settings))
    words = ["activeindex", "main"]
    for name, value in options.items():
        if value not in ("null", "[]") and name not in _PRESETS_OWN:
            shown = {"true": "True", "false": "False"}.get(value, value)
            option = "format" if name == "release.format.name" else name.rpartition(".")[2]
            words += [f"--{option}", *(json.loads(shown) if name in _SEVERAL else [shown])]
    extractor = run.folder.extractor or "an extractor that is not noted"
    return shlex.join(words), f"from run.json; the extractor was {extractor}"


def latency_of(run: ReportedRun) -> dict[str, Any] | None:
    """The duration of the searches of a run; None without ``times.jsonl``.

    Returns:
        ``run``; ``nprobe``, inverted lists visited, and other search-time parameters;
        ``neighbours`` per query; the number of ``queries``; ``batch``, the queries searched for
        together, their median; ``mean`` in milliseconds per query; ``median`` and ``high``, the
        median and the 95th percentile of the batches likewise; ``threads`` of FAISS.
    """
    searches = [line for line in run.times if line.get("stage") == "search" and line.get("items")]
    searches = [line for line in searches if "seconds" in line]
    if not searches:
        return None
    seconds = np.array([line["seconds"] for line in searches], np.float64)
    items = np.array([line["items"] for line in searches], np.float64)
    each = 1000.0 * seconds / items
    nprobe, more = (run.folder.setting("index", name) for name in ("nprobe", "search_params"))
    threads = {str(start.get("threads", {}).get("faiss", "?")) for start in run.starts}
    return {
        "run": run.name,
        "nprobe": f"nprobe={'?' if nprobe is None else nprobe}{f',{more}' if more else ''}",
        "neighbours": str(run.folder.setting("evaluation", "kneighbors") or "?"),
        "queries": int(items.sum()),
        "batch": int(np.median(items)),
        "mean": float(1000.0 * seconds.sum() / items.sum()),
        "median": float(np.median(each)),
        "high": float(np.quantile(each, 0.95)),
        "threads": ", ".join(sorted(threads)) or "?",
    }
