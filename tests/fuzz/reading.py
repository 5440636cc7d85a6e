"""Child process of the fuzz tests: reads file after file as a command would, and reports each.

A line of JSON on standard input names a reader and a path; the answer, on standard output, has the
exit code of a command that read it and what it printed as errors.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from activeindex import cli
from activeindex.activation.records import read_records, recorded_outcomes
from activeindex.experiment.folder import RunFolder
from activeindex.extractors.coerce import resolve_extractor
from activeindex.extractors.feature_files import read_features
from activeindex.images.picture import read_picture
from activeindex.indexing.artefact import TrainedIndex
from activeindex.runtime.files import read_lines
from activeindex.stores.filters import parse_filter
from activeindex.stores.records import FILTERABLE_2
from activeindex.stores.store import Store

MEMORY = 4 << 30
"""Bytes of data that a child may allocate."""


def _index(path: Path) -> None:
    trained = TrainedIndex.read(path)
    features = np.zeros((2, trained.index.d), np.float32)
    trained.quantiser.encode(features)


def _store(path: Path) -> None:
    with Store(path) as store:
        store.count()
        store.search_features(np.zeros((1, store.dimension), np.float32), 3, where="id >= 0")
        store.get(store.select("name LIKE '%' OR psnr > 3"))


def _extractor(path: Path) -> None:
    extractor = resolve_extractor(path)
    with torch.no_grad():
        extractor(torch.zeros(1, 3, extractor.input_size, extractor.input_size))


def _records(path: Path) -> None:
    for record in read_records(path):
        recorded_outcomes(path, record)


def _run(path: Path) -> None:
    run = RunFolder.open(path)
    run.hit_table()
    run.setting("index", "quant")
    assert run.extractor is None or run.metric


READERS: dict[str, Callable[[Path], object]] = {
    "picture": lambda path: read_picture(path).pixels,
    "features": lambda path: read_features(path).values.sum(),
    "index": _index,
    "store": _store,
    "extractor": _extractor,
    "records": _records,
    "run": _run,
    "names": lambda path: list(read_lines(path)),
    "filter": lambda path: parse_filter(path.read_text("utf-8", "surrogateescape"), FILTERABLE_2),
}


def answers(questions: Iterator[str]) -> Iterator[tuple[int | str, str]]:
    """Yield the exit code, or the name of an error that is a bug, and what was printed."""
    for line in questions:
        reader, path = json.loads(line)
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 2)
            code: int | str
            try:
                read = partial(READERS[reader], Path(path))
                code = cli._exit_code("fuzz", read, argparse.Namespace())
            except BaseException as error:
                where = error.__traceback__
                while where is not None and where.tb_next is not None:
                    where = where.tb_next
                frame = where and f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
                code = f"{type(error).__name__} at {frame}: {error}"[:400]
            sys.stderr.flush()
            printed.seek(0)
            yield code, printed.read().decode("utf-8", "replace")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for answer in answers(iter(sys.stdin.readline, "")):
        print(json.dumps(answer), file=out, flush=True)
