"""Child process of the fuzz tests: reads file after file as a command would, and reports each.

A line of JSON on standard input names a reader and a path; the answer, on standard output, has the
exit code of a command that read it and what it printed as errors.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from activeindex import cli
from activeindex.activation.records import read_records, recorded_outcomes
from activeindex.datasets.disc import read_ground_truth
from activeindex.decisions.calibration import Calibration
from activeindex.errors import UnencodableError
from activeindex.evaluation.csv_files import read_detection
from activeindex.evaluation.isc import answered, detected, read_predictions, read_truth
from activeindex.experiment.folder import RunFolder, RunSummary
from activeindex.extractors.coerce import resolve_extractor
from activeindex.extractors.feature_files import read_features
from activeindex.extractors.whitening import Whitening
from activeindex.extractors.zoo_checkpoints import load_checkpoint
from activeindex.images.encoding import encode
from activeindex.images.formats import FileFormat
from activeindex.images.picture import read_picture
from activeindex.indexing.artefact import TrainedIndex
from activeindex.report.page import write_report
from activeindex.report.runs import ReportedRun
from activeindex.runtime.files import read_bytes
from activeindex.runtime.journal import Journal, begun_identity
from activeindex.stores.filters import parse_filter
from activeindex.stores.ingest import read_names
from activeindex.stores.records import FILTERABLE_2
from activeindex.stores.store import Store

MEMORY = 4 << 30
"""Bytes of data that a child may allocate."""
SECONDS = 60
"""CPU time for one file."""


def _picture(path: Path) -> None:
    picture = read_picture(path)
    with contextlib.suppress(UnencodableError):
        encode(picture, picture.layer, FileFormat())


def _features(path: Path) -> None:
    """Read a feature file; of a folder, with its note and names."""
    file = next(path.glob("fts.*t")) if path.is_dir() else path
    features = read_features(file)
    if path.is_dir():
        read_names(path / "filenames.txt", len(features.values))


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
    if path.is_dir():  # An ONNX file with its weights beside it.
        (path,) = path.glob("*.onnx")
    extractor = resolve_extractor(path)
    with torch.no_grad():
        extractor(torch.zeros(1, 3, extractor.input_size, extractor.input_size))


def _checkpoint(path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    load_checkpoint(network, path, read_bytes(path, "model_path"))


def _calibration(path: Path) -> None:
    calibration = Calibration.read(path)
    calibration.check(path, calibration.extractor, calibration.quantiser)
    queries = np.zeros((2, calibration.normalising.shape[1]), np.float32)
    scores = calibration.scores(queries, np.array([[0.5, 1.0], [1.0, 2.0]], np.float32))
    for refined in (False, True):
        calibration.expected_false_matches(scores, 100, refined=refined)


def _records(path: Path) -> None:
    for record in read_records(path):
        recorded_outcomes(path, record)


def _run(path: Path) -> None:
    RunSummary.read(path)
    run = ReportedRun("a", 0, RunFolder.open(path))
    assert run.folder.extractor is None or run.folder.metric
    detected(read_detection(path / "icd_df.csv"), run.folder.metric)
    for part in ("retrieval", "detection", "places", "records", "times", "stages"):
        getattr(run, part)


def _report(path: Path) -> None:
    write_report({"run": path}, path.parent / "report")


def _journal(path: Path) -> None:
    """Go on with, and finish, what a killed command has left; or recognise what is finished."""
    (name,) = {each.stem.lstrip(".") for each in path.glob("*.journal")} or {"activation"}
    noted = begun_identity(path, name)
    files = tuple(each.name[1:].removesuffix(".partial") for each in path.glob("*.partial"))
    with Journal(path, name, noted[1] if noted else {}, files) as journal:
        if not journal.finished:
            journal.commit({"images": 1})
            journal.finish({})


READERS: dict[str, Callable[[Path], object]] = {
    "picture": _picture,
    "features": _features,
    "index": _index,
    "store": _store,
    "extractor": _extractor,
    "checkpoint": _checkpoint,
    "whitening": Whitening.read,
    "calibration": _calibration,
    "records": _records,
    "run": _run,
    "report": _report,
    "journal": _journal,
    "truth": read_truth,
    "ground truth": read_ground_truth,
    "predictions": read_predictions,
    "answers": answered,
    "names": lambda path: read_names(path, 2),
    "filter": lambda path: parse_filter(path.read_text("utf-8", "surrogateescape"), FILTERABLE_2),
}


def answers(questions: Iterator[str]) -> Iterator[tuple[int | str, str]]:
    """Yield the exit code, or the name of an error that is a bug, and what was printed."""
    for line in questions:
        reader, path = json.loads(line)
        used = int(time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, resource.RLIM_INFINITY))
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
