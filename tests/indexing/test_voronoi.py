"""The half-spaces of a cell: on which side of them a feature is filed under the same code."""

import faiss
import numpy as np
import numpy.typing as npt
import pytest
import torch

from activeindex.errors import ShapeError
from activeindex.indexing.quantiser import Features, Quantiser
from activeindex.indexing.training import Metric, train_faiss
from activeindex.indexing.unwrap import unwrapped

CODES: tuple[tuple[str, Metric], ...] = (
    *(("IVF16,PQ8x4np", "L2"), ("IVF16,PQ8x4np", "IP"), ("IVF16,SQ8", "L2")),
    *(("OPQ8_32,IVF16,PQ8x4np", "L2"), ("PCAW32,IVF16,PQ8x4np", "IP")),
)
CELLS: tuple[tuple[str, Metric], ...] = (
    *(
        ("IVF32,Flat", "L2"),
        ("IVF32,Flat", "IP"),
        ("PCAR32,IVF32,SQ8", "L2"),
        ("PCA32,IVF32,SQ8", "IP"),
    ),
    *(("PCAW32,IVF32,Flat", "L2"), ("IMI2x3,Flat", "L2"), ("NAP8,IVF32,Flat", "L2")),
)


def features(seed: int, count: int = 2000, dimension: int = 64) -> Features:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    unit: Features = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def transformed(index: faiss.Index, rows: Features) -> Features:
    for transform in unwrapped(index)[0]:
        rows = transform.apply(rows)
    return rows


def lists_of(index: faiss.Index, rows: Features) -> npt.NDArray[np.int64]:
    lists: npt.NDArray[np.int64] = faiss.extract_index_ivf(index).quantizer.assign(
        transformed(index, rows), 1
    )
    return lists.ravel()


@pytest.mark.parametrize(("factory", "metric"), CELLS)
def test_features_behind_every_face_and_no_others_fall_into_the_same_list(
    factory: str, metric: Metric
) -> None:
    copies = [features(2)] if factory.startswith("NAP") else []
    index = train_faiss(features(0), factory, metric, copies)
    quantiser, queries = Quantiser(index), features(1, 300)
    lists = lists_of(index, queries)
    for row in range(5):
        half_spaces = quantiser.half_spaces(queries[row : row + 1])
        assert half_spaces is not None
        nearest = half_spaces.margin(torch.from_numpy(queries)).min(dim=1).values.numpy()
        clear = np.abs(nearest) > 1e-5
        assert ((nearest > 0) == (lists == lists[row]))[clear].all()
        assert nearest[row] > -1e-5


@pytest.mark.parametrize(("factory", "metric"), CODES)
def test_behind_the_face_of_a_code_it_is_nearer_than_one_at_the_centroid(
    factory: str, metric: Metric
) -> None:
    index = train_faiss(features(0), factory, metric)
    query, inverted = features(1, 1), faiss.extract_index_ivf(index)
    face = Quantiser(index).centroid_half_space(query)
    assert face is not None
    assert face.offsets.shape == (1, 1)
    code = inverted.sa_decode(inverted.sa_encode(transformed(index, query)))[0]
    centroid = inverted.quantizer.reconstruct(int(lists_of(index, query)[0]))
    shares = np.linspace(-1, 1, 300, dtype=np.float32)[:, None]
    near: Features = shares * query + np.float32(0.5) * features(2, 300)
    seen = transformed(index, near)
    if metric == "L2":
        gain = np.square(seen - centroid).sum(axis=1) - np.square(seen - code).sum(axis=1)
    else:
        gain = seen @ (code - centroid)
    margin = face.margin(torch.from_numpy(near))[:, 0].numpy()
    clear = np.abs(gain) > 1e-4
    assert ((margin > 0) == (gain > 0))[clear].all()
    assert 0 < (gain > 0).sum() < len(gain)


def test_a_code_at_the_centroid_has_no_face() -> None:
    index = train_faiss(features(0), "IVF32,Flat", "L2")
    centroid = faiss.extract_index_ivf(index).quantizer.reconstruct_n(0, 1)
    assert Quantiser(index).centroid_half_space(centroid) is None


@pytest.mark.parametrize("factory", ["PQ8x4np", "SQ8", "LSH", "HNSW16,Flat"])
def test_without_inverted_lists_there_is_no_centroid_to_part_from(factory: str) -> None:
    assert (
        Quantiser(train_faiss(features(0), factory, "L2")).centroid_half_space(features(1, 1))
        is None
    )


@pytest.mark.parametrize("factory", ["LSH", "LSHrt", "LSHt", "PCA8,LSH"])
def test_features_behind_every_face_have_the_same_bits(factory: str) -> None:
    index = train_faiss(features(0, dimension=16), factory, "L2")
    quantiser, queries = Quantiser(index), features(1, 300, dimension=16)
    half_spaces = quantiser.half_spaces(queries[:1])
    assert half_spaces is not None
    moved: Features = queries[:1] + np.float32(0.2) * queries
    nearest = half_spaces.margin(torch.from_numpy(moved)).min(dim=1).values.numpy()
    same = (quantiser.encode(moved) == quantiser.encode(queries[:1])).all(axis=1)
    clear = np.abs(nearest) > 1e-5
    assert ((nearest > 0) == same)[clear].all()
    assert 0 < same.sum() < len(same)


def test_depth_is_the_distance_to_the_face() -> None:
    index = train_faiss(features(0), "IVF32,Flat", "L2")
    query = features(1, 1)
    half_spaces = Quantiser(index).half_spaces(query)
    assert half_spaces is not None
    start = torch.from_numpy(query)
    margin = half_spaces.margin(start)[0]
    for face in (int(margin.argmin()), int(margin.argmax())):
        on_it = start - margin[face] * half_spaces.normals[0, face]
        assert half_spaces.margin(on_it)[0, face] == pytest.approx(0.0, abs=1e-5)


def test_features_are_brought_to_unit_length_where_the_index_does_so() -> None:
    index = train_faiss(features(0), "L2norm,IVF32,Flat", "L2")
    query = features(1, 1)
    half_spaces = Quantiser(index).half_spaces(np.float32(3.0) * query)
    assert half_spaces is not None
    start = torch.from_numpy(query)
    torch.testing.assert_close(half_spaces.margin(start), half_spaces.margin(3.0 * start))


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "HNSW16,Flat", "PCA32,ITQ32,LSH"])
def test_an_index_without_cells_has_no_faces(factory: str) -> None:
    assert Quantiser(train_faiss(features(0), factory, "L2")).half_spaces(features(1, 1)) is None


def test_one_feature_at_a_time() -> None:
    quantiser = Quantiser(train_faiss(features(0), "IVF32,Flat", "L2"))
    with pytest.raises(ShapeError, match=r"expected shape \(1, 64\)"):
        quantiser.half_spaces(features(1, 2))
    with pytest.raises(ShapeError, match=r"expected shape \(1, 64\)"):
        quantiser.centroid_half_space(features(1, 2))
