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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import torch

from activeindex.indexing.artefact import library_versions
from activeindex.runtime.files import output_error

TIMES_FILE = "times.jsonl"


Stages = list[tuple[str, int, float]]
"""Name, items and seconds of stages."""


class Stopwatch:
    """Durations of stages, here or in a worker elsewhere.

    Args:
        stages: Stages that were measured already.

    Attributes:
        stages: Name, items and seconds of each.
    """

    def __init__(self, stages: Iterable[tuple[str, int, float]] = ()) -> None:
        self.stages: Stages = list(stages)

    @contextmanager
    def stage(self, name: str, items: int) -> Iterator[None]:
        """Measure the block as a stage that handles ``items`` images or queries."""
        start = time.perf_counter()
        yield
        self.stages.append((name, items, time.perf_counter() - start))


class StageTimes(Stopwatch):
    """Stopwatch that writes its times when the step that they belong to is committed.

    Args:
        path: The file; lines are added to it.
        command: The command typed, for the line of this start.
        device: The device of the extractor.
    """

    def __init__(self, path: Path, command: str | None, device: torch.device) -> None:
        super().__init__()
        self._path = path
        self._start: list[dict[str, Any]] = [
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

    def commit(self) -> None:
        """Write the durations measured since the last call."""
        lines = self._start + [
            {"stage": name, "items": items, "seconds": round(seconds, 6)}
            for name, items, seconds in self.stages
        ]
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(line)}\n" for line in lines)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._start.clear()
        self.stages.clear()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
