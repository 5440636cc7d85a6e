import itertools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pytest

from activeindex.errors import InputError, ShapeError
from activeindex.indexing.training import Metric, few_features, train_apart, train_faiss
from activeindex.runtime.reporting import Reporter
from tests.indexing.trained import KINDS, features, trained

_WAY = (
    "; take more images or fewer centroids, or leave --index out: the index in the package needs "
    "no training"
)


@pytest.mark.parametrize(("factory", "metric"), KINDS)
def test_a_trained_index_is_empty_and_ready(factory: str, metric: Metric) -> None:
    index = trained(factory, metric)
    assert index.is_trained
    assert index.ntotal == 0
    assert index.d == 64


def test_training_twice_gives_the_same_codes() -> None:
    again, queries = train_faiss(features(800), "IVF16,PQ8x8np", "L2"), features(30, seed=1)
    assert np.array_equal(again.sa_encode(queries), trained("IVF16,PQ8x8np").sa_encode(queries))


@pytest.mark.parametrize(
    ("factory", "count", "message"),
    [
        ("IVF16,PQ7x8", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("Nonsense", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("", 800, r"expected a FAISS factory string that fits features of dimension 64"),
        ("IVF16,PQ8x4", 10, rf"at least 16 training features, one per centroid, found 10{_WAY}$"),
        ("PQ8x8np", 100, rf"at least 256 training features, one per centroid, found 100{_WAY}$"),
        ("IVF16,PQ8x8np", 10, r"expected at least 256 training features"),
        ("IVF300,PQ8x8np", 290, r"expected at least 300 training features"),
        ("IMI2x4,PQ8x4np", 10, r"expected at least 16 training features"),
        ("OPQ8_32,IVF16,PQ8x8np", 100, r"expected at least \d+ training features"),
    ],
)
def test_what_cannot_be_trained_is_told_on_one_line(factory: str, count: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train_faiss(features(count), factory, "L2")
    assert str(caught.value).startswith(f"idx_factory {factory!r}: ")
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"^quant: expected one of L2, IP, found 'cosine'$"):
        train_faiss(features(20), "Flat", "cosine")  # type: ignore[arg-type]


def test_features_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^training features: expected shape \(n, d\)"):
        train_faiss(features(20).ravel(), "Flat", "L2")


def test_few_training_features_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for factory in ("IVF16,PQ8x4", "PCA32,IVF16,Flat", "PQ8x4"):
        train_faiss(features(60), factory, "L2")
    assert capfd.readouterr() == ("", "")


def test_few_training_features_of_a_rotation_print_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    index = train_faiss(features(300), "OPQ8_32,IVF4,PQ8x4np", "L2")
    assert capfd.readouterr() == ("", "")
    # It is the rotation that FAISS would have found by itself.
    plain = faiss.index_factory(64, "OPQ8_32,IVF4,PQ8x4np")
    plain.train(features(300))
    queries = features(30, seed=1)
    assert np.array_equal(index.sa_encode(queries), plain.sa_encode(queries))


@pytest.mark.parametrize(
    ("factory", "count"),
    [
        ("Flat", 0),
        ("IVF16,Flat", 16),
        ("IVF16,PQ8x4np", 16),
        ("IVF4,PQ8x8np", 256),
        ("IVF300,PQ8x8np", 300),
        ("OPQ8_32,IVF4,PQ8x4np", 256),
        ("IMI2x4,PQ8x4np", 16),
    ],
)
def test_fewer_features_than_the_largest_clustering_wants_are_told(
    factory: str, count: int
) -> None:
    index = train_faiss(features(400), factory, "L2")
    assert few_features(39 * count, index) is None
    if count:
        assert few_features(39 * count - 1, index) == (
            f"{39 * count - 1:,} features for {count:,} centroids; {39 * count:,} advised"
        )


@pytest.mark.parametrize("factory", ["IVF16,PQ8x8np", "OPQ2_8,IVF4,PQ2x4", "NAP3,PCA32,LSH"])
def test_a_child_process_trains_the_same_index(factory: str) -> None:
    edited = [features(400, seed=1)] if factory.startswith("NAP") else []
    here, apart = (
        train(features(400), factory, "L2", edited) for train in (train_faiss, train_apart)
    )
    np.testing.assert_array_equal(faiss.serialize_index(here), faiss.serialize_index(apart))


@pytest.mark.parametrize("factory", ["IVF4,PQ2x4", "PQ2x4", "OPQ2_8,PQ2x4"])
def test_polysemous_numbers_come_by_name_alone_and_change_no_distance(factory: str) -> None:
    plain, asked = (
        train_faiss(features(300), factory, "L2", polysemous=polysemous)
        for polysemous in (False, True)
    )
    unnumbered = train_faiss(features(300), f"{factory}np", "L2")
    queries = features(50, seed=1)
    codes = [index.sa_encode(queries) for index in (plain, asked, unnumbered)]
    np.testing.assert_array_equal(codes[0], codes[2])
    assert not np.array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(plain.sa_decode(codes[0]), asked.sa_decode(codes[1]))
    for index in (plain, asked):
        index.add(features(200, seed=2))
    for one, other in zip(plain.search(queries, 20), asked.search(queries, 20), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_that_crashes_faiss_is_refused_on_one_line() -> None:
    """Squares of these features are infinite."""
    with pytest.raises(InputError) as caught:
        train_apart(1e25 * features(400), "IVF4,PQ2x4", "L2")
    assert str(caught.value) == (
        "idx_factory 'IVF4,PQ2x4': 400 features of dimension 64 cannot train it (FAISS crashed, "
        "SIGABRT)"
    )


def test_a_training_that_asks_for_terabytes_is_refused_on_one_line() -> None:
    with pytest.raises(InputError, match=r"^idx_factory 'LSQ32x24': .* \(not enough memory\)$"):
        train_apart(features(100), "LSQ32x24", "L2")


def test_long_training_shows_the_share_done() -> None:
    """FAISS prints its iterations; the clock runs fast here."""
    lines: list[str] = []
    ticks = itertools.count()

    class Lines(Reporter):
        def line(self, text: object = "") -> None:
            lines.append(str(text))

    train_apart(features(400), "IVF4,PQ4x4", "L2", reporter=Lines(clock=lambda: 10.0 * next(ticks)))
    assert re.fullmatch(r"training: begun, \d of 100", lines[0])
    shares = [int(share) for share in re.findall(r"(\d+) of 100, ", "\n".join(lines))]
    assert shares == sorted(shares)
    assert shares[-1] > 80


def test_ctrl_c_answers_at_once_and_ends_the_training() -> None:
    program = (
        "import numpy as np; from activeindex.indexing.training import train_apart;"
        "print('ready', flush=True);"
        "train_apart(np.random.default_rng(0).normal(size=(9000, 256)).astype('f4'), 'PQ32x8',"
        " polysemous=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    children, until = list[str](), time.monotonic() + 60
    while not children and time.monotonic() < until:
        time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    time.sleep(1.0)  # It trains by now.
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=5)
    assert errors.strip().endswith(b"KeyboardInterrupt")
    assert children
    assert not any(Path("/proc", child).exists() for child in children)
