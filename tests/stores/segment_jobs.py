"""Makers of segments that do not do as they should; a Ray worker imports them."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from activeindex.running.workers import Workers
from activeindex.stores.lance_model import LanceModel
from activeindex.stores.lance_segments import SegmentJob


class DyingJob(SegmentJob):
    """Its process is killed, really, when the segment of fragment 3 is made and not given back."""

    def __call__(self, items: Sequence[Sequence[int]], workers: Workers) -> Iterator[Any]:
        for fragments, segment in zip(items, super().__call__(items, workers), strict=True):
            died = Path(self.uri).with_name("died")
            if 3 in fragments and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield segment


class ForgetfulJob(SegmentJob):
    """Is given a model and drops that of fragment 1, as lance-ray does."""

    def __call__(self, items: Sequence[Sequence[int]], workers: Workers) -> Iterator[Any]:
        for fragments in items:
            model = self.model
            if 1 in fragments:
                model = LanceModel(model.centroids, model.codebook[::-1].copy())
            yield from SegmentJob(self.uri, self.version, model)([fragments], workers)
