"""Duration of the stages of a run: ``times.jsonl``.

Times differ from run to run, so this file alone is not the same after an interrupted run as after
an undisturbed one: each start adds a line about itself, then a line per stage of every step that it
committed.
"""

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import torch

from activeindex.indexing.artefact import library_versions
from activeindex.runtime.files import output_error

TIMES_FILE = "times.jsonl"


@dataclass(frozen=True)
class Stopwatch:
    """Durations of stages, here or in a worker elsewhere.

    Attributes:
        stages: Name, items and seconds of each.
    """

    stages: list[tuple[str, int, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, items: int) -> Iterator[None]:
        """Measure the block as a stage that handles ``items`` images or queries."""
        start = time.perf_counter()
        yield
        self.stages.append((name, items, time.perf_counter() - start))


class StageTimes:
    """Stopwatch that writes its times when the step that they belong to is committed.

    Args:
        path: The file; lines are added to it.
        command: The command typed, for the line of this start.
        device: The device of the extractor.
    """

    def __init__(self, path: Path, command: str | None, device: torch.device) -> None:
        self._path = path
        self._pending: list[dict[str, Any]] = [
            {
                "start": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "machine": platform.machine(),
                "system": platform.system(),
                "cores": os.cpu_count(),
                "threads": {"torch": torch.get_num_threads(), "faiss": faiss.omp_get_max_threads()},
                "device": _device_name(device),
                "versions": {**library_versions(), "torch": torch.__version__},
            }
        ]

    @contextmanager
    def stage(self, name: str, items: int) -> Iterator[None]:
        """Measure the block as a stage that handles ``items`` images or queries."""
        watch = Stopwatch()
        with watch.stage(name, items):
            yield
        self.add(watch.stages)

    def add(self, stages: Iterable[tuple[str, int, float]]) -> None:
        """Add durations that were measured elsewhere: name, items and seconds of each stage."""
        self._pending += [
            {"stage": name, "items": items, "seconds": round(seconds, 6)}
            for name, items, seconds in stages
        ]

    def commit(self) -> None:
        """Write the durations measured since the last call."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(line)}\n" for line in self._pending)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._pending.clear()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
