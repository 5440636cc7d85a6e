"""Jobs of a Lance store that do not do as they should; a Ray worker imports them."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from activeindex.runtime.pool import LocalEngine
from activeindex.stores.ingest import Added, Part
from activeindex.stores.lance.jobs import FragmentJob, SegmentJob
from activeindex.stores.lance.model import LanceModel


def die_once(uri: str, name: str) -> None:
    """Kills this process, really; another one that comes here lives on."""
    died = Path(uri).with_name(name)
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingFragmentJob(FragmentJob):
    """Its process is killed when the images from 300 on are written, and not given back."""

    def __call__(
        self, items: Sequence[tuple[int, Part]], workers: LocalEngine
    ) -> Iterator[tuple[Added, list[Any]]]:
        for (first, _), written in zip(items, super().__call__(items, workers), strict=True):
            if first == 300:
                die_once(self.uri, "died-writing")
            yield written


class DyingSegmentJob(SegmentJob):
    """Its process is killed when the segment of fragment 3 is made, and not given back."""

    def __call__(self, items: Sequence[Sequence[int]], workers: LocalEngine) -> Iterator[Any]:
        for fragments, segment in zip(items, super().__call__(items, workers), strict=True):
            if 3 in fragments:
                die_once(self.uri, "died-indexing")
            yield segment


class ForgetfulJob(SegmentJob):
    """Is given a model and drops that of fragment 1, as lance-ray does."""

    def __call__(self, items: Sequence[Sequence[int]], workers: LocalEngine) -> Iterator[Any]:
        for fragments in items:
            model = self.model
            if 1 in fragments:
                model = LanceModel(model.centroids, model.codebook[::-1].copy())
            yield from SegmentJob(self.uri, self.version, model)([fragments], workers)
